"""The `Batch`: how N tokens of S sequences lie end to end, so that one forward serves every use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from openbook.lm.nn.cache import KvCache


class Run(NamedTuple):
    """`sequences` neighbours of `length` new tokens each, from token `start`: they attend in one call, unpadded.

    `sequence`: the first one's place in the batch. `visible`: the tokens that each sees, the new ones included.
    """

    start: int
    sequences: int
    length: int
    sequence: int
    visible: int


@dataclass(frozen=True)
class Batch:
    """N tokens of S sequences laid end to end, without padding.

    positions: (N,) int64, the place of each token in its sequence. starts: (S + 1,) int64, cumulative lengths of what is
    new. cache: where the keys and values of earlier tokens are; None when there are none. lengths: (S,) int64, the tokens
    that each sequence sees, new ones included; only with a cache. adapters: (S,) int64, each sequence's place among the
    model's adapters, -1 for the base; None where one is active for all (`lm.adapters`).
    """

    positions: Tensor
    starts: Tensor
    causal: bool = True
    cache: KvCache | None = None
    lengths: Tensor | None = None
    adapters: Tensor | None = None

    @classmethod
    def of(
        cls,
        lengths: Sequence[int],
        *,
        causal: bool = True,
        cache: KvCache | None = None,
        seen: Sequence[int] | None = None,
        adapters: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """The batch of sequences with these lengths, each from position 0, or behind the `seen` tokens in the cache.

        `device`: where its tensors are, and the model. Raises ValueError on an empty sequence.
        """
        if any(length < 1 for length in lengths):
            raise ValueError(f"a sequence has {min(lengths)} tokens: leave empty sequences out of the batch")
        new = [int(length) for length in lengths]
        counts = np.array(new, np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        before = np.array(seen if seen is not None else [0] * len(lengths), np.int64)
        positions = np.arange(starts[-1]) + np.repeat(before - starts[:-1], counts)  # (N,)
        on_device = [torch.from_numpy(one).to(device) for one in (positions, starts, before + counts)]
        found = cls(on_device[0], on_device[1], causal, cache, on_device[2] if cache is not None else None, adapters)
        visible = new if cache is None else [old + length for old, length in zip(before.tolist(), new, strict=True)]
        found.__dict__["runs"] = runs_of(new, visible)  # known here: no layer has to ask a device for numbers
        return found

    @cached_property
    def runs(self) -> list[Run]:
        """The sequences as runs of equal length, in order; sorted input gives few runs."""
        bounds: list[int] = self.starts.tolist()
        new = [end - begin for begin, end in pairwise(bounds)]
        return runs_of(new, new if self.lengths is None else self.lengths.tolist())


def runs_of(new: Sequence[int], visible: Sequence[int]) -> list[Run]:
    """Neighbours with as many new tokens and as many visible ones, together."""
    runs, start, sequence = [], 0, 0
    for (length, seen), group in groupby(zip(new, visible, strict=True)):
        count = sum(1 for _ in group)
        runs.append(Run(start, count, length, sequence, seen))
        start, sequence = start + count * length, sequence + count
    return runs
