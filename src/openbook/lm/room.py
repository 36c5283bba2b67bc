"""Whether a model fits into memory, asked before it is spent: a process that takes too much is killed without a word."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from openbook.core.errors import ModelUnavailable

_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def check_room(needed_bytes: int, what: str) -> None:
    """Raises ModelUnavailable, with both figures, when `what` needs more than is there."""
    there = available_bytes()
    if there is not None and needed_bytes > there:
        raise ModelUnavailable(
            f"{what} takes {needed_bytes / 1e9:,.1f} GB of memory, {there / 1e9:,.1f} GB are available",
            "choose a smaller model or another dtype, or make room",
        )


def available_bytes() -> int | None:
    """What a process may still take, swap included, and no more than its control group allows; None where nothing says it."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        said = dict(re.findall(r"^(\w+):\s+(\d+) kB$", _MEMORY.read_text("ascii"), re.MULTILINE))
        if "MemAvailable" in said:
            found.append(1_024 * (int(said["MemAvailable"]) + int(said.get("SwapFree", 0))))
    with suppress(OSError, ValueError):
        most, now = (int((_GROUP / name).read_text("ascii")) for name in ("memory.max", "memory.current"))
        cached = re.search(r"^inactive_file (\d+)$", (_GROUP / "memory.stat").read_text("ascii"), re.MULTILINE)
        found.append(most - now + (int(cached[1]) if cached else 0))
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)
