"""Whether proposing pays for a sequence: by what was accepted lately and how many run beside it, never by the clock."""

from __future__ import annotations

from collections import deque

FREE_ROWS = 7
"""Reading the weights costs a step as much as computing so many rows: a row more costs 1 / (FREE_ROWS + rows) of the step.

Measured for int8 on two cores, a model of half a billion weights: 26 ms for one row, and 3.8 ms for each further one.
"""
MARGIN = 1.1
"""Checking guesses costs a little besides: copies of logits, several draws."""
WINDOW, LEAST, REST = 48, 12, 64
"""Proposed tokens that are looked back at, that a judgement takes, and steps without proposals before it tries again."""


class Pace:
    """Of one sequence: the last proposals, and how long it still rests."""

    def __init__(self) -> None:
        self._rounds: deque[tuple[int, int]] = deque()
        self._proposed = self._accepted = 0
        self._rest = 0

    def pays(self, num_running: int) -> bool:
        """To be asked once a step. With B sequences a proposal pays when more than B / (FREE_ROWS + B) of them are accepted."""
        if self._rest:
            self._rest -= 1
            return False
        if self._proposed < LEAST or self._accepted * (FREE_ROWS + num_running) > MARGIN * self._proposed * num_running:
            return True
        self._rounds.clear()
        self._proposed = self._accepted = 0
        self._rest = REST
        return False

    def note(self, proposed: int, accepted: int) -> None:
        self._rounds.append((proposed, accepted))
        self._proposed += proposed
        self._accepted += accepted
        while self._proposed - self._rounds[0][0] >= WINDOW:
            old = self._rounds.popleft()
            self._proposed -= old[0]
            self._accepted -= old[1]
