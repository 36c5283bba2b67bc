"""Worker processes with limits, in which untrusted input is parsed: a hostile file fails alone.

Parent and workers exchange length-prefixed msgpack frames over pipes, never pickle. Here are, in reading order: what
a failure is, the frames, the worker's own loop (`python -m openbook.core.sandbox`), and `WorkerPool`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Generic, Literal, TypeVar

import msgpack

from openbook.core.errors import OpenbookError

T = TypeVar("T")
FailureKind = Literal["error", "timeout", "memory", "crash"]

_LENGTH = struct.Struct("<Q")
_READ_BYTES = 1 << 20
_START_TIMEOUT_S = 60.0
# Tasks waiting in a worker's pipe: enough that it never idles for the parent, few enough to balance the load.
_AHEAD_S = 0.02
_MAX_AHEAD = 16
_WINDOW_PER_WORKER = 64
_MAX_UNREAD_BYTES = 64 << 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class WorkerFailure:
    """Why a task has no result. `error` is the class name of the exception for kind "error", else ""."""

    kind: FailureKind
    message: str
    remedy: str
    error: str = ""


def _frame(value: object) -> bytes:
    body: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")
    return _LENGTH.pack(len(body)) + body


def _unpack(body: bytes | memoryview) -> Any:
    return msgpack.unpackb(body, raw=False, strict_map_key=False, unicode_errors="surrogatepass")


# --- the worker ---------------------------------------------------------------------------------------------------


def run_worker() -> None:
    """The loop of a worker process: one frame in, one frame out, until the pipe closes."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not get between the frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setup = _receive(requests)
    if setup is None:
        return
    _die_with_parent(setup["parent"])
    if setup["nice"]:
        os.nice(setup["nice"])
    sys.path[:] = setup["path"]
    try:
        target = _resolve(setup["target"])
        if setup["initializer"]:
            _resolve(setup["initializer"])(*setup["initargs"])
        _limit_memory(setup["memory_bytes"])
        _send(replies, {"ok": True})
    except Exception as error:
        _send(replies, {"error": f"{type(error).__name__}: {error}"})
        return
    while (request := _receive(requests)) is not None:
        reply = _answer(target, request[0], setup["arguments"])
        try:
            _send(replies, reply)
        except MemoryError:
            reply = {"kind": "memory"}
            _send(replies, reply)
        if reply.get("kind") == "memory":
            return  # what else the failed allocation broke is not known: a fresh process takes over


def _answer(target: Callable[..., Any], task: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    try:
        return {"value": target(task, *arguments)}
    except MemoryError:
        return {"kind": "memory"}
    except OpenbookError as error:
        return {"kind": "error", "error": type(error).__name__, "message": error.message, "remedy": error.remedy}
    except Exception as error:
        message = str(error)[:2000]
        return {"kind": "error", "error": type(error).__name__, "message": f"{type(error).__name__}: {message}"}


def _send(pipe: IO[bytes], value: object) -> None:
    view = memoryview(_frame(value))
    while view:
        view = view[pipe.write(view) :]


def _receive(pipe: IO[bytes]) -> Any:
    prefix = pipe.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(prefix)
    body = pipe.read(length)
    return _unpack(body) if len(body) == length else None


def _resolve(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies, also in the middle of a task (Linux only)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    """Caps the address space at what is mapped now plus `memory_bytes`, and forbids core dumps."""
    try:
        import resource
    except ImportError:  # no such limit on this system; time limits still hold
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    with open("/proc/self/statm", "rb") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limit = mapped + memory_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


# --- the pool -----------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
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


class WorkerPool:
    """Long-lived worker processes that run `target` ("module:function") as `target(task, *arguments)`.

    Tasks, arguments and values are what msgpack carries (no tuples: they arrive as lists). A task that exceeds
    `timeout_s` seconds or `memory_bytes` of further address space, or takes its process down, becomes a
    `WorkerFailure`; its process is replaced and the other tasks do not notice. Use it as a context manager, from
    one thread: the workers end with the pool, on Ctrl-C, and when the parent dies (on Linux when the thread that
    started them ends).

    `initializer` ("module:function") runs once in each worker, before the memory limit holds, with `initargs`.
    `nice` lowers the priority of the workers. Raises OpenbookError when a worker cannot start.
    """

    def __init__(
        self,
        target: str,
        *,
        workers: int = 1,
        memory_bytes: int = 2 << 30,
        timeout_s: float = 300.0,
        arguments: Sequence[object] = (),
        initializer: str | None = None,
        initargs: Sequence[object] = (),
        nice: int = 0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers!r}: it must be at least 1")
        self.timeout_s = timeout_s
        self.memory_bytes = memory_bytes
        self.num_workers = workers
        self._setup = {
            "target": target,
            "parent": os.getpid(),
            "path": list(sys.path),
            "nice": nice,
            "memory_bytes": memory_bytes,
            "arguments": list(arguments),
            "initializer": initializer,
            "initargs": list(initargs),
        }
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._mean_s = _AHEAD_S

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts the workers without waiting for them; `map` does it by itself."""
        while len(self._workers) < self.num_workers:
            self._workers.append(self._spawn())

    def close(self) -> None:
        """Kills all workers. The pool may be used again afterwards."""
        for worker in self._workers:
            self._end(worker)
        self._workers.clear()

    def map(self, tasks: Iterable[T]) -> Iterator[tuple[T, Any]]:
        """(task, value or WorkerFailure) for each task, in the order of `tasks`, which are taken as needed.

        Closing the iterator, or an exception in the loop over it, stops the workers.
        """
        run = _Run(iter(tasks))
        finished = False
        try:
            self.start()
            while True:
                self._dispatch(run)
                while run.first in run.results:
                    yield run.take()
                    self._dispatch(run)
                if not run.tasks:
                    if run.exhausted:
                        finished = True
                        return
                    continue
                self._wait(run)
        finally:
            if not finished:
                self.close()

    # --- one step of `map` ---

    def _dispatch(self, run: _Run[T]) -> None:
        """Keeps every worker's pipe filled with about `_AHEAD_S` seconds of work."""
        ahead = max(1, min(_MAX_AHEAD, int(_AHEAD_S / max(self._mean_s, 1e-6))))
        for depth in range(1, ahead + 1):
            for worker in self._workers:
                if len(worker.tasks) < depth and not worker.outgoing and not self._assign(worker, run):
                    return

    def _assign(self, worker: _Worker, run: _Run[T]) -> bool:
        number = run.next_number(self.num_workers * _WINDOW_PER_WORKER)
        if number is None:
            return False
        if not worker.tasks:
            worker.since = time.monotonic()
        worker.tasks.append(number)
        self._write(worker, _frame([run.tasks[number]]))
        return True

    def _wait(self, run: _Run[T]) -> None:
        now = time.monotonic()
        deadline = min((self._deadline(worker) for worker in self._workers if worker.tasks), default=now + 1.0)
        for key, events in self._selector.select(max(0.0, deadline - now)):
            worker: _Worker = key.data
            if worker not in self._workers:
                continue  # replaced by an earlier event of this round
            if events & selectors.EVENT_WRITE:
                self._flush(worker)
            if events & selectors.EVENT_READ:
                self._read(worker, run)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.tasks and now >= self._deadline(worker):
                cause = f"it took longer than {self.timeout_s:g} s"
                self._replace(worker, run, WorkerFailure("timeout", cause, "split the file, or raise the time limit"))

    def _deadline(self, worker: _Worker) -> float:
        return worker.since + (self.timeout_s if worker.ready else self.timeout_s + _START_TIMEOUT_S)

    def _read(self, worker: _Worker, run: _Run[T]) -> None:
        try:
            data = os.read(worker.stdout_fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._replace(worker, run, self._post_mortem(worker))
            return
        worker.incoming += data
        start = 0
        while len(worker.incoming) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(worker.incoming, start)
            end = start + _LENGTH.size + length
            if len(worker.incoming) < end:
                break
            with memoryview(worker.incoming) as view:
                reply = _unpack(view[start + _LENGTH.size : end])
            start = end
            self._reply(worker, run, reply, length)
            if worker not in self._workers:
                return
        del worker.incoming[:start]

    def _reply(self, worker: _Worker, run: _Run[T], reply: dict[str, Any], size: int) -> None:
        now = time.monotonic()
        if not worker.ready:
            if "error" in reply:
                self.close()
                raise OpenbookError(
                    f"a worker process for {self._target} cannot start: {reply['error']}",
                    "check the installation with `openbook doctor`",
                )
            worker.ready, worker.since = True, now
            return
        # Ten tasks decide how far ahead to send: one slow file must not empty the pipes for long.
        self._mean_s += 0.1 * (now - worker.since - self._mean_s)
        worker.since = now
        if reply.get("kind") == "memory":
            self._replace(worker, run, self._out_of_memory())
            return
        number = worker.tasks.popleft()
        if "value" in reply:
            run.put(number, reply["value"], size)
        else:
            remedy = reply.get("remedy") or ""
            run.put(number, WorkerFailure("error", reply["message"], remedy, reply["error"]), size)

    # --- processes ---

    def _spawn(self) -> _Worker:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[name] = "1"
        # glibc reserves 64 MB of address space an arena; two are enough for a process of one thread.
        environment["MALLOC_ARENA_MAX"] = "2"
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)
        process = subprocess.Popen(
            [sys.executable, "-c", "from openbook.core.sandbox import run_worker; run_worker()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal reaches the parent alone
        )
        worker = _Worker(process, stderr, since=time.monotonic())
        os.set_blocking(worker.stdin_fd, False)
        os.set_blocking(worker.stdout_fd, False)
        self._selector.register(worker.stdout_fd, selectors.EVENT_READ, worker)
        self._write(worker, _frame(self._setup))
        return worker

    def _write(self, worker: _Worker, data: bytes) -> None:
        worker.outgoing += data
        self._flush(worker)

    def _flush(self, worker: _Worker) -> None:
        """Writes what the pipe takes now; a full pipe is watched, so that neither side ever blocks the other."""
        try:
            while worker.outgoing:
                with memoryview(worker.outgoing) as view:
                    sent = os.write(worker.stdin_fd, view[:_READ_BYTES])
                del worker.outgoing[:sent]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            worker.outgoing.clear()  # the closed stdout tells why
        watched = worker.stdin_fd in self._selector.get_map()
        if worker.outgoing and not watched:
            self._selector.register(worker.stdin_fd, selectors.EVENT_WRITE, worker)
        elif watched and not worker.outgoing:
            self._selector.unregister(worker.stdin_fd)

    def _replace(self, worker: _Worker, run: _Run[T], failure: WorkerFailure) -> None:
        """The running task fails, those behind it in the pipe go back to the front of the queue."""
        if not worker.ready and not worker.tasks:
            self.close()
            raise OpenbookError(f"a worker process for {self._target} cannot start: {failure.message}", failure.remedy)
        self._end(worker)
        if worker.tasks:
            run.put(worker.tasks.popleft(), failure, 0)
            run.again.extendleft(reversed(worker.tasks))
        self._workers[self._workers.index(worker)] = self._spawn()

    def _end(self, worker: _Worker) -> None:
        for descriptor in (worker.stdout_fd, worker.stdin_fd):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        worker.process.kill()
        worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout, worker.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _post_mortem(self, worker: _Worker) -> WorkerFailure:
        code = worker.process.wait()
        worker.stderr.seek(max(0, worker.stderr.seek(0, os.SEEK_END) - 2000))
        last = worker.stderr.read().decode(errors="replace").strip().rsplit("\n", 1)[-1][:300]
        if "MemoryError" in last or "bad_alloc" in last or "std::length_error" in last:
            return self._out_of_memory()
        if code == -signal.SIGKILL:
            return WorkerFailure(
                "memory", "its process was killed, most likely because the machine ran out of memory",
                "free some memory, use fewer workers, or split the file",
            )  # fmt: skip
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = f", last words: {last!r}" if last else ""
        return WorkerFailure("crash", f"its process ended with {how}{said}", "exclude the file, and report it as a bug")

    def _out_of_memory(self) -> WorkerFailure:
        megabytes = self.memory_bytes >> 20
        return WorkerFailure(
            "memory", f"it needs more than {megabytes} MiB of memory", "split the file, or raise the memory limit"
        )


class _Run(Generic[T]):
    """The state of one `map`: tasks read but not given back, their results, and what must be sent again."""

    def __init__(self, source: Iterator[T]) -> None:
        self.source = source
        self.tasks: dict[int, T] = {}
        self.results: dict[int, tuple[Any, int]] = {}
        self.again: deque[int] = deque()
        self.first = 0
        self.count = 0
        self.exhausted = False
        self.unread_bytes = 0

    def next_number(self, window: int) -> int | None:
        """The next task to send; None while the window is full, too many results wait, or none is left."""
        if self.again:
            return self.again.popleft()
        if self.exhausted or len(self.tasks) >= window or (self.tasks and self.unread_bytes > _MAX_UNREAD_BYTES):
            return None
        try:
            task = next(self.source)
        except StopIteration:
            self.exhausted = True
            return None
        self.tasks[self.count] = task
        self.count += 1
        return self.count - 1

    def put(self, number: int, value: Any, size: int) -> None:
        self.results[number] = (value, size)
        self.unread_bytes += size

    def take(self) -> tuple[T, Any]:
        value, size = self.results.pop(self.first)
        task = self.tasks.pop(self.first)
        self.unread_bytes -= size
        self.first += 1
        return task, value


if __name__ == "__main__":
    run_worker()
