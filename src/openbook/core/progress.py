"""How a long job says how far it is, whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

LINE_STEPS = 500
LINE_S = 10.0


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int | None, what: str) -> None:
        """`done` of `total` steps of `stage` are behind; `what` names the thing at hand. Cheap: called for each step."""
        ...


def silent(stage: str, done: int, total: int | None, what: str) -> None:
    """A `Progress` that shows nothing."""


class Lines:
    """A `Progress` for a log or a pipe: one line for every `LINE_STEPS` steps and, when they are slow, every `LINE_S`
    seconds. A job that is sooner done says nothing. `clock` counts seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._stage, self._said, self._at_s = "", 0, clock()

    def __call__(self, stage: str, done: int, total: int | None, what: str) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._said = stage, 0
        if done - self._said < LINE_STEPS and now - self._at_s < LINE_S:
            return
        self._said, self._at_s = done, now
        of = f" {done} of {total}" if total else f" {done}" if done else ""
        self._write(f"{stage}{of}{': ' + what if what else ''}")
