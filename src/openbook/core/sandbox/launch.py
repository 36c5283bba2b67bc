"""Starts `launcher.py`, in bubblewrap or not, and tells it how the program is to be shut in."""

from __future__ import annotations

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
    spec_read, spec_write = os.pipe()
    status_read, status_write = os.pipe()
    passed = [spec_read, status_write]
    command = [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), str(spec_read), str(status_write)]
    info_read = -1
    if confinement.tier == "bubblewrap":
        assert confinement.bwrap is not None
        info_read, info_write = os.pipe()
        passed.append(info_write)
        readable = (*confinement.readable, _LAUNCHER)
        command = [*bubblewrap_command(confinement.bwrap, folder, readable, info_write, uid is not None), *command]
    try:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            pass_fds=passed, env=_environment(folder), cwd="/", start_new_session=True,
        )  # fmt: skip
    except BaseException:
        for descriptor in (spec_write, status_read, *([info_read] if info_read >= 0 else [])):
            os.close(descriptor)
        raise
    finally:
        for descriptor in passed:
            os.close(descriptor)
    spec = _spec(confinement, argv, folder, uid, limits, process.pid)
    try:
        with open(spec_write, "wb") as file:  # smaller than a pipe holds: it never waits
            file.write(json.dumps(spec).encode())
    except BrokenPipeError:
        pass  # it ended before it read: its status says why
    return Launched(process, status_read, info_read)


def _spec(
    confinement: Confinement, argv: list[str], folder: Path, uid: int | None, limits: Limits, pid: int
) -> dict[str, object]:
    is_confined = confinement.tier != "unsafe"
    is_hidden = confinement.tier == "bubblewrap"
    found = landlock(landlock_abi()) if is_confined else None
    architecture = machine()
    only_pid = None if is_hidden or (found and found.guards_signals) else pid
    paths = (folder, *confinement.readable)
    return {
        "argv": argv,
        "environment": _environment(folder),
        "folder": str(folder),
        "limits": _resource_limits(
            limits, None if not is_confined else 0 if uid is not None or is_hidden else tasks_of_user(os.getuid())
        ),
        "is_confined": is_confined,
        "uid": uid,
        "keeps_search": uid is not None and not is_hidden and not all(map(is_open_to_all, filter(Path.exists, paths))),
        "parent": None if is_hidden else os.getpid(),
        "landlock": landlock_rules(found, folder, confinement.readable) if found else None,
        "seccomp": seccomp_filter(architecture, limits.processes > 1, only_pid).hex()
        if is_confined and architecture
        else None,
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
