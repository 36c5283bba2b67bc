"""A limit against a server that sends a byte now and then: each read is in time, and the whole never ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from openbook.core.errors import ModelUnavailable


class LeastRate(NamedTuple):
    """What must come on average over each window; 0 bytes a second: any rate will do."""

    bytes_per_s: float = 1_000.0
    window_s: float = 60.0


class Pace:
    """Counts what comes from `source`. `clock` gives seconds."""

    def __init__(self, source: str, least: LeastRate, clock: Callable[[], float] = time.monotonic) -> None:
        self.source, self.least, self.clock = source, least, clock
        self.begin()

    def begin(self) -> None:
        """A window from here: what was done before (hashing a file that was there) is no fault of the source."""
        self._began, self._bytes = self.clock(), 0

    def count(self, number: int) -> None:
        """`number` bytes have come. Raises ModelUnavailable at the end of a window in which too few came."""
        self._bytes += number
        spent_s = self.clock() - self._began
        if spent_s < self.least.window_s:
            return
        if self._bytes < self.least.bytes_per_s * spent_s:
            came = f"{self._bytes:,} bytes in {spent_s:,.0f} s"
            raise ModelUnavailable(
                f"{self.source} sent {came}, the least is {self.least.bytes_per_s:,.0f} a second",
                "pull again later, it goes on where it stopped; or give a lower --least-rate, 0 for none",
            )
        self.begin()
