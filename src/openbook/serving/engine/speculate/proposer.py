"""What guesses the next tokens of sequences, to be checked by the model in one pass."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import NamedTuple, Protocol

from openbook.serving.engine.sequence import Sequence


class Asked(NamedTuple):
    """`sequence` has room for `most` tokens behind its next one, in its block table too."""

    sequence: Sequence
    most: int


class Proposer(Protocol):
    """Its guesses decide how fast an answer comes, never which: see `Speculation`."""

    @property
    def cost(self) -> float:
        """Of making one proposal, in steps of the model that write one token."""
        ...

    def propose(self, asked: Items[Asked]) -> list[list[int]]:
        """For each at most so many tokens; none where there is nothing to go by."""
        ...

    def copy(self, source: int, target: int) -> None:
        """Block `target` is to be what block `source` is."""
        ...

    def forget(self, number: int) -> None:
        """The sequence of this number has ended."""
        ...

    def sleep(self) -> None:
        """Gives back memory; what was kept of sequences is lost."""
        ...

    def wake(self) -> None:
        """Takes it again."""
        ...
