"""A worker process as its parent sees it: begun, ended, and what it died of."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from typing import IO

from openbook.core.sandbox.failure import WorkerFailure


@dataclass
class Worker:
    """A worker process as its parent sees it."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]
    outgoing: bytearray = field(default_factory=bytearray)
    incoming: bytearray = field(default_factory=bytearray)
    tasks: deque[int] = field(default_factory=deque)
    """Numbers of the tasks sent, in order; the first is the one that runs."""
    since: float = 0.0
    """When the running task began, as far as the parent knows (monotonic)."""
    ready: bool = False

    @property
    def stdin_fd(self) -> int:
        assert self.process.stdin is not None
        return self.process.stdin.fileno()

    @property
    def stdout_fd(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


def spawn() -> Worker:
    """A fresh worker; its pipes do not block, and it waits for its setup frame."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        environment[name] = "1"
    # glibc reserves 64 MB of address space an arena; two are enough for a process of one thread.
    environment["MALLOC_ARENA_MAX"] = "2"
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
    process = subprocess.Popen(
        [sys.executable, "-c", "from openbook.core.sandbox.worker import run_worker; run_worker()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        start_new_session=True,  # a Ctrl-C at the terminal reaches the parent alone
    )
    worker = Worker(process, stderr, since=time.monotonic())
    os.set_blocking(worker.stdin_fd, False)
    os.set_blocking(worker.stdout_fd, False)
    return worker


def end_process(worker: Worker) -> None:
    """Kills the process and closes its pipes."""
    worker.process.kill()
    worker.process.wait()
    for pipe in (worker.process.stdin, worker.process.stdout, worker.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def post_mortem(worker: Worker, memory_bytes: int) -> WorkerFailure:
    """What a process that has ended died of."""
    code = worker.process.wait()
    worker.stderr.seek(max(0, worker.stderr.seek(0, os.SEEK_END) - 2000))
    last = worker.stderr.read().decode(errors="replace").strip().rsplit("\n", 1)[-1][:300]
    if "MemoryError" in last or "bad_alloc" in last or "std::length_error" in last:
        return out_of_memory(memory_bytes)
    if code == -signal.SIGKILL:
        return WorkerFailure(
            "memory", "its process was killed, most likely because the machine ran out of memory",
            "free some memory, use fewer workers, or split the file",
        )  # fmt: skip
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    said = f", last words: {last!r}" if last else ""
    return WorkerFailure("crash", f"its process ended with {how}{said}", "exclude the file, and report it as a bug")


def out_of_memory(memory_bytes: int) -> WorkerFailure:
    megabytes = memory_bytes >> 20
    return WorkerFailure(
        "memory", f"it needs more than {megabytes} MiB of memory", "split the file, or raise the memory limit"
    )
