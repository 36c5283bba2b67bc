"""Starts `launcher.py`, in bubblewrap or not, and tells it how the program is to be shut in."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from openbook.core.sandbox import launcher
from openbook.core.sandbox.bubblewrap import bubblewrap_command
from openbook.core.sandbox.means import is_open_to_all, landlock, landlock_abi, landlock_rules, machine
from openbook.core.sandbox.members import tasks_of_user
from openbook.core.sandbox.outcome import Limits
from openbook.core.sandbox.seccomp import seccomp_filter

Tier = Literal["bubblewrap", "landlock", "unsafe"]
_LAUNCHER = Path(launcher.__file__).resolve()
_THREADS = 31
"""Threads that a program may have beside its first."""
_OPEN_FILES = 256


@dataclass(frozen=True)
class Confinement:
    """How programs are shut in, whatever they are."""

    tier: Tier
    readable: tuple[Path, ...]
    bwrap: Path | None


@dataclass
class Launched:
    """A program on its way; the launcher waits for nobody any more."""

    process: subprocess.Popen[bytes]
    status_fd: int
    """Gives the launcher's complaint, or nothing once the program runs."""
    info_fd: int
    """Gives the id of bubblewrap's first process; -1 without bubblewrap."""


def launch(
    confinement: Confinement, argv: list[str], folder: Path, uid: int | None, stdin: IO[bytes], limits: Limits
) -> Launched:
    """Starts a program. The caller owns the descriptors and must end the process."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:  # ours: what a failure must not leave
        spec_read, spec_write = _pipe(theirs, None)
        status_read, status_write = _pipe(ours, theirs)
        command = [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), str(spec_read), str(status_write)]
        passed, info_read = [spec_read, status_write], -1
        if confinement.tier == "bubblewrap":
            assert confinement.bwrap is not None
            info_read, info_write = _pipe(ours, theirs)
            passed.append(info_write)
            readable = (*confinement.readable, _LAUNCHER)
            command = [*bubblewrap_command(confinement.bwrap, folder, readable, info_write, uid is not None), *command]
        with open(spec_write, "wb", buffering=0) as spec_file:  # what it holds is smaller than a pipe: no write waits
            process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=passed, env=_environment(folder), cwd="/", start_new_session=True,
            )  # fmt: skip
            ours.callback(process.wait)
            ours.callback(process.kill)
            theirs.close()
            spec = _spec(confinement, argv, folder, uid, limits, process.pid)
            with contextlib.suppress(BrokenPipeError):  # it ended before it read: its output says why
                spec_file.write(json.dumps(spec).encode())
        ours.pop_all()
        return Launched(process, status_read, info_read)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack | None) -> tuple[int, int]:
    """The two ends of a pipe, each closed with its stack; without a stack the caller closes it."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    if writer is not None:
        writer.callback(os.close, write)
    return read, write


def _spec(
    confinement: Confinement, argv: list[str], folder: Path, uid: int | None, limits: Limits, pid: int
) -> dict[str, object]:
    shared: dict[str, object] = {"argv": argv, "environment": _environment(folder), "folder": str(folder), "uid": uid}
    if confinement.tier == "unsafe":
        bounds = _resource_limits(limits, None)
        free = {"is_confined": False, "keeps_search": False, "landlock": None, "seccomp": None}
        return {**shared, **free, "limits": bounds, "parent": os.getpid()}
    is_hidden = confinement.tier == "bubblewrap"  # in a namespace of processes of its own
    found, architecture = landlock(landlock_abi()), machine()
    assert architecture is not None  # `fault_of` has said so
    only_pid = None if is_hidden or (found and found.guards_signals) else pid
    paths = [path for path in (folder, *confinement.readable) if path.exists()]
    # In a user namespace the kernel counts from nothing again: bubblewrap's own first process.
    tasks = 0 if uid is not None else 1 if is_hidden else tasks_of_user(os.getuid())
    return {
        **shared,
        "limits": _resource_limits(limits, tasks),
        "is_confined": True,
        "keeps_search": uid is not None and not is_hidden and not all(map(is_open_to_all, paths)),
        "parent": None if is_hidden else os.getpid(),
        "landlock": landlock_rules(found, folder, confinement.readable) if found else None,
        "seccomp": seccomp_filter(architecture, limits.processes > 1, only_pid).hex(),
    }


def _environment(folder: Path) -> dict[str, str]:
    """All that a program learns of the environment: nothing of ours."""
    one_thread = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc reserves 64 MB of address space an arena
        **dict.fromkeys(one_thread, "1"),
    }


def _resource_limits(limits: Limits, tasks: int | None) -> list[tuple[str, int, int]]:
    """Names, soft and hard values. `tasks`: processes and threads that the program's user has already; None: not limited."""
    cpu = math.ceil(limits.cpu_seconds)
    wanted = [
        ("RLIMIT_AS", limits.memory_bytes, limits.memory_bytes),
        ("RLIMIT_CPU", cpu, cpu + 1),  # SIGXCPU, and a second later SIGKILL
        ("RLIMIT_FSIZE", limits.disk_bytes, limits.disk_bytes),
        ("RLIMIT_NOFILE", _OPEN_FILES, _OPEN_FILES),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_MEMLOCK", 0, 0),
        ("RLIMIT_MSGQUEUE", 0, 0),
    ]
    if tasks is not None:
        allowed = tasks + limits.processes + (_THREADS if limits.processes == 1 else 0)
        wanted.append(("RLIMIT_NPROC", allowed, allowed))
    bounded = []
    for name, soft, hard in wanted:
        _, highest = resource.getrlimit(getattr(resource, name))
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        bounded.append((name, soft, hard))
    return bounded
