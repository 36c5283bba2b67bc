"""How a long job says how far it is, whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int | None, what: str) -> None:
        """`done` of `total` steps of `stage` are behind; `what` names the thing at hand. Cheap: called for each step."""
        ...


def silent(stage: str, done: int, total: int | None, what: str) -> None:
    """A `Progress` that shows nothing."""
