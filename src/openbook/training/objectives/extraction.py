"""Extractive reading: where in a passage the answer begins and where it ends, or that it is not there.

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3: a question without an answer has its span at
the first token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.sources.questions import Asked


class SpanExtraction:
    """Sums, over sequences, the mean of -log p(begin) and -log p(end), each a softmax over the first token and the passage's."""

    def weight(self, micro: Asked) -> float:
        return float(len(micro.lengths))

    def loss(self, model: Family, micro: Asked) -> LossSum:
        logits = model(micro.ids, micro.batch(), segments=micro.segments, head="logits").float()  # (N, 2)
        inside = logits[micro.rows]  # (M, 2)
        highest = _highest(inside.detach(), micro.sequences, len(micro.lengths))  # (S, 2)
        shares = (inside - highest[micro.sequences]).exp()
        sums = torch.zeros_like(highest).index_add(0, micro.sequences, shares)
        said = torch.stack([logits[micro.begin, 0], logits[micro.end, 1]], dim=1)  # (S, 2)
        total = (sums.log() + highest - said).sum() / 2
        right = float((said.detach() >= highest).all(dim=1).sum())
        return LossSum(total, self.weight(micro), {"exact": (right, self.weight(micro))})


def _highest(values: Tensor, sequences: Tensor, count: int) -> Tensor:
    """values: (M, 2), sequences: (M,) -> (S, 2), the largest of each sequence."""
    found = values.new_full((count, 2), float("-inf"))
    return found.scatter_reduce(0, sequences[:, None].expand_as(values), values, "amax")
