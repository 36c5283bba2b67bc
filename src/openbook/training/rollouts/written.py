"""Who writes what is learned from: the engine in this process, or a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Prompted(NamedTuple):
    """`n` answers to `ids` are wanted; answer i draws from seed + i. `max_tokens`: of each, its end token included."""

    ids: list[int]
    n: int
    seed: int
    max_tokens: int


@dataclass
class Written:
    """`tokens`: with the end token, if `is_finished`. `logprobs`: of each, at the temperature that it was drawn with; NaN where
    who wrote does not say it.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    is_finished: bool = False


class Renewal(NamedTuple):
    """What it took to bring the weights over."""

    seconds: float = 0.0
    bytes: int = 0


class Writer(Protocol):
    """Between `renew` and `rest` the model may not learn. Every rank has one, and calls it as the others do theirs."""

    def renew(self) -> Renewal:
        """What is written from now on is by the weights as they are."""
        ...

    def write(self, prompts: Sequence[Prompted]) -> list[list[Written]]:
        """The answers to each prompt. FloatingPointError for a model that says no numbers; RunStopped where it cannot go on."""
        ...

    def rest(self) -> None:
        """Gives back what is only needed to write."""
        ...
