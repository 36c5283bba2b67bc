"""The processes of an untrusted program, and what they use together."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Member(NamedTuple):
    """A living process."""

    pid: int
    parent: int
    group: int
    cpu_seconds: float
    """Of itself and of the children it has waited for."""
    resident_bytes: int
    is_zombie: bool
    """It has ended, and nobody has asked how."""


def members(leader: int) -> list[Member]:
    """The leader, its descendants, and whoever is in its group; those whose parent died stay in the group."""
    everyone = {member.pid: member for member in map(_member, _pids()) if member is not None}
    belongs = {pid: leader in (pid, member.group) for pid, member in everyone.items()}
    for pid in everyone:
        chain: list[int] = []
        at: int | None = pid
        while at is not None and at in everyone and not belongs[at] and len(chain) < len(everyone):
            chain.append(at)
            at = everyone[at].parent
        if at is not None and belongs.get(at, False):
            belongs.update(dict.fromkeys(chain, True))
    return [member for pid, member in everyone.items() if belongs[pid]]


def unlinked_bytes(pids: list[int], device: int) -> int:
    """Bytes of files on a device that processes have open and that have no name any more; each file once."""
    used: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:  # it may have ended
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    found = descriptor.stat()
                    if found.st_dev == device and found.st_nlink == 0:
                        used[found.st_ino] = found.st_blocks * 512
    return sum(used.values())


def tasks_of_user(uid: int) -> int:
    """Processes and threads that a user has on this machine now."""
    count = 0
    for pid in _pids():
        try:
            if Path(f"/proc/{pid}").stat().st_uid == uid:
                count += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return count


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _member(pid: int) -> Member | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name of the program stands in brackets and may hold anything. Source: proc_pid_stat(5), fields 3, 4, 5, 14-17, 24.
    fields = text[text.rfind(b")") + 2 :].split()
    ticks = sum(int(value) for value in fields[11:15])
    return Member(pid, int(fields[1]), int(fields[2]), ticks / _TICKS, int(fields[21]) * _PAGE_BYTES, fields[0] == b"Z")
