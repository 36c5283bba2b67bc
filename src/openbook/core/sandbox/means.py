"""What this machine has to shut a program in."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from openbook.core.sandbox.syscalls import Machine

LANDLOCK_CREATE_RULESET = 444
MIN_LANDLOCK = 3
"""Linux 6.2. Before it a file that may not be written could still be truncated."""

SYSTEM_PATHS = tuple(Path(path) for path in (
    "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives",
))  # fmt: skip
DEVICES = tuple(Path("/dev", name) for name in ("null", "zero", "urandom", "random"))

_FOLDER_ACCESS = 0x7FFF & ~(1 << 6 | 1 << 9 | 1 << 11)  # all but devices and sockets
_READ_ACCESS = 1 << 0 | 1 << 2 | 1 << 3  # execute, read files, list directories
_DEVICE_ACCESS = 1 << 1 | 1 << 2


class Landlock(NamedTuple):
    """What of Landlock a kernel has, as bits of its rulesets."""

    abi: int
    fs: int
    net: int
    scoped: int
    size: int
    """Bytes of `struct landlock_ruleset_attr` that the kernel knows."""

    @property
    def guards_signals(self) -> bool:
        return self.abi >= 6


def landlock_abi() -> int:
    """The version of Landlock; 0 where the kernel has none, or it is not switched on."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(
        0, int(libc.syscall(ctypes.c_long(LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    )


def landlock(abi: int) -> Landlock | None:
    """The bits of a version. Source: linux/Documentation/userspace-api/landlock.rst, "Compatibility"."""
    if abi < 1:
        return None
    files = 0x1FFF | (1 << 13 if abi >= 2 else 0) | (1 << 14 if abi >= 3 else 0) | (1 << 15 if abi >= 5 else 0)
    return Landlock(abi, files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0, 24 if abi >= 6 else 16 if abi >= 4 else 8)


def landlock_rules(found: Landlock, folder: Path, readable: tuple[Path, ...]) -> dict[str, object]:
    """The ruleset of a run, as `launcher.py` takes it."""
    rules = [(str(path), _READ_ACCESS) for path in readable]
    rules += [(str(path), _DEVICE_ACCESS) for path in DEVICES]
    rules.append((str(folder), _FOLDER_ACCESS))
    return {"fs": found.fs, "net": found.net, "scoped": found.scoped, "size": found.size, "rules": rules}


def machine() -> Machine | None:
    """The architecture, where the numbers of its system calls are known."""
    match platform.machine():
        case "x86_64" if sys.maxsize > 1 << 32:
            return "x86_64"
        case "aarch64":
            return "aarch64"
    return None


def find_bubblewrap() -> Path | None:
    """The program `bwrap`; whether it runs is another question."""
    found = shutil.which("bwrap")
    return Path(found) if found else None


def readable_paths(more: tuple[Path, ...]) -> tuple[Path, ...]:
    """What every program may read: the system's libraries and this interpreter with its packages; and `more`."""
    interpreter = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return (*SYSTEM_PATHS, *sorted(interpreter), *more)


def is_open_to_all(path: Path) -> bool:
    """Any user may go through all directories above a path."""
    return all(parent.stat().st_mode & 0o001 for parent in path.absolute().parents)


def spare_uid() -> int | None:
    """For root: a user's number that belongs to nobody, another each time; None for any other user, who cannot change it.

    Limits on processes do not hold root, and two programs of one user could see each other. The range lies above those that
    systemd gives to containers; where a user namespace maps few numbers, the one of its dynamic users is taken.
    """
    if os.geteuid() != 0:
        return None
    first, count = 0x7000_0000, 0x0FFF_FFFF
    try:
        maps = [[int(value) for value in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        maps = []
    if not any(inner <= first and inner + length >= first + count for inner, _, length in maps):
        first, count = 61184, 65519 - 61184
    return first + int.from_bytes(os.urandom(4)) % count
