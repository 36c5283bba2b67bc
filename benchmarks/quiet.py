"""Whether others use the machine: a benchmark waits until they do not."""

from __future__ import annotations

import os
import time
from pathlib import Path

QUIET = 0.12  # of one core, used by others


def busy_cores(seconds: float = 0.5) -> float:
    """Cores that are in use while we wait."""

    def used() -> int:
        fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return sum(fields[:3]) + sum(fields[5:8])  # without idle and waiting

    before = used()
    time.sleep(seconds)
    return (used() - before) / os.sysconf("SC_CLK_TCK") / seconds


def wait_for_quiet(limit: float = 120.0) -> float:
    """The share of a core that others use when it is below `QUIET`, or after `limit` seconds."""
    began = time.perf_counter()
    while (share := busy_cores()) > QUIET and time.perf_counter() - began < limit:
        time.sleep(1)
    return share
