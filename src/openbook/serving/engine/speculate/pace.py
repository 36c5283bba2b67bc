"""Whether proposing pays for a sequence: by what was accepted lately and how many run beside it, never by the clock."""

from __future__ import annotations

from collections import deque

FREE_ROWS = 7
"""Reading the weights costs a step as much as computing so many rows: a row more costs 1 / (FREE_ROWS + rows) of the step.

Measured for int8 on two cores, a model of half a billion weights: 26 ms for one row, and 3.8 ms for each further one.
"""
MARGIN = 1.1
"""Checking guesses costs a little besides: copies of logits, several draws."""
WINDOW, LEAST = 48, 12
"""Proposed tokens that are looked back at, and that a judgement takes."""
REST, LONGEST_REST = 64, 1_024
"""Steps without proposals before it tries again: twice as many each time that it did not pay, so that trying costs ever less."""


class Pace:
    """Of one sequence: the last proposals, and how long it still rests. `cost`: see `Proposer`."""

    def __init__(self, cost: float = 0.0) -> None:
        self._cost = cost
        self._rounds: deque[tuple[int, int]] = deque()
        self._proposed = self._accepted = 0
        self._rest, self._next_rest = 0, REST

    def pays(self, num_running: int) -> bool:
        """To be asked once a step.

        With B sequences a proposal pays when the share that is accepted is above B / (FREE_ROWS + B), what checking one takes of
        a step, and the cost of making one.
        """
        if self._rest:
            self._rest -= 1
            return False
        needed = MARGIN * (num_running / (FREE_ROWS + num_running) + self._cost)
        if needed < 1 and (self._proposed < LEAST or self._accepted > needed * self._proposed):
            if self._proposed >= LEAST:
                self._next_rest = REST
            return True
        self._rounds.clear()
        self._proposed = self._accepted = 0
        self._rest, self._next_rest = self._next_rest, min(2 * self._next_rest, LONGEST_REST)
        return False

    def note(self, proposed: int, accepted: int) -> None:
        self._rounds.append((proposed, accepted))
        self._proposed += proposed
        self._accepted += accepted
        while self._proposed - self._rounds[0][0] >= WINDOW:
            old = self._rounds.popleft()
            self._proposed -= old[0]
            self._accepted -= old[1]
