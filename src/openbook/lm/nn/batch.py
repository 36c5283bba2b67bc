"""The `Batch`: how N tokens of S sequences lie end to end, so that one forward serves every use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Run(NamedTuple):
    """`sequences` neighbours of `length` tokens each, from token `start`: they attend in one call, unpadded."""

    start: int
    sequences: int
    length: int


@dataclass(frozen=True)
class Batch:
    """N tokens of S sequences laid end to end, without padding.

    positions: (N,) int64, the place of each token in its sequence. starts: (S + 1,) int64, cumulative lengths.
    """

    positions: Tensor
    starts: Tensor
    causal: bool = True

    @classmethod
    def of(cls, lengths: Sequence[int], *, causal: bool = True) -> Batch:
        """The batch of sequences with these lengths, each from position 0. Raises ValueError on an empty sequence."""
        if any(length < 1 for length in lengths):
            raise ValueError(f"a sequence has {min(lengths)} tokens: leave empty sequences out of the batch")
        counts = torch.tensor(lengths, dtype=torch.int64)
        starts = torch.zeros(len(lengths) + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=starts[1:])
        positions = torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(counts)  # (N,)
        return cls(positions, starts, causal)

    def runs(self) -> list[Run]:
        """The sequences as runs of equal length, in order; sorted input gives few runs."""
        bounds: list[int] = self.starts.tolist()
        runs, start = [], 0
        for length, group in groupby(end - begin for begin, end in pairwise(bounds)):
            count = sum(1 for _ in group)
            runs.append(Run(start, count, length))
            start += count * length
        return runs
