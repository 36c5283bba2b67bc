"""Who is let in: a bounded number of sequences may run and wait, the rest is told when to come again."""

from __future__ import annotations

from math import ceil

from openbook.app.server.errors import Refused

_REMEMBERED = 0.9
"""Of the mean time of a request, how much the next one leaves as it was."""


class Admission:
    """At most `max_num_seqs` + `max_queue` sequences are inside. Counts only: no lock, one event loop owns it."""

    def __init__(self, max_num_seqs: int, max_queue: int) -> None:
        self.max_num_seqs, self.max_queue = max_num_seqs, max_queue
        self.inside = 0
        self._mean_s = 1.0

    def check(self, count: int) -> None:
        """400 when so many sequences can never fit: to be asked before anything is made for each of them."""
        room = self.max_num_seqs + self.max_queue
        if count > room:
            raise Refused(
                400,
                f"the request asks for {count:,} answers, the server takes {room:,} at once: lower n, or raise --max-queue",
                code="too_many_answers",
            )

    def enter(self, count: int) -> None:
        """Takes `count` sequences in. 400 when they can never fit, 429 with Retry-After when they do not now."""
        self.check(count)
        if self.inside + count > self.max_num_seqs + self.max_queue:
            wait_s = max(1, min(60, ceil(self._mean_s)))
            raise Refused(
                429,
                f"{self.inside:,} requests run or wait already: ask again in {wait_s} s",
                code="queue_full",
                headers={"Retry-After": str(wait_s)},
            )
        self.inside += count

    def undo(self, count: int) -> None:
        """Those that entered are refused after all: nothing is learnt of how long requests take."""
        self.inside -= count

    def leave(self, after_s: float) -> None:
        """One sequence has ended `after_s` seconds after it came."""
        self.inside -= 1
        self._mean_s = _REMEMBERED * self._mean_s + (1 - _REMEMBERED) * after_s
