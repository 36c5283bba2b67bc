"""Texts, or pairs of texts, each with a label, as a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from openbook.lm.nn.batch import Batch


@dataclass(frozen=True)
class Labelled:
    """Sequences end to end, the longest first. ids, segments: (N,); labels: (S,)."""

    ids: Tensor
    segments: Tensor
    lengths: list[int]
    labels: Tensor

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)


class Sample(NamedTuple):
    """ids (T,), segments (T,), and the number of its label."""

    ids: list[int]
    segments: list[int]
    label: int


def labelled(samples: Sequence[Sample]) -> Labelled:
    """One micro-batch; those of equal length are neighbours."""
    ordered = sorted(samples, key=lambda one: -len(one.ids))
    return Labelled(
        torch.tensor([number for one in ordered for number in one.ids]),
        torch.tensor([number for one in ordered for number in one.segments]),
        [len(one.ids) for one in ordered],
        torch.tensor([one.label for one in ordered]),
    )
