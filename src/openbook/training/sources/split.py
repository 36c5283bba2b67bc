"""How the rows of a step are parted among ranks, and those of a rank among forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """`batch_size` rows a step over all ranks, `micro_batch_size` of them in a forward pass. ValueError for ranks that would not
    have the same number of rows.
    """

    batch_size: int
    micro_batch_size: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of {self.world_size} ranks")

    def parts(self, rows: Sequence[T]) -> list[Sequence[T]]:
        """This rank's rows of a step, in turns with the other ranks, by forward pass."""
        mine, size = rows[self.rank :: self.world_size], self.micro_batch_size
        return [mine[at : at + size] for at in range(0, len(mine), size)]
