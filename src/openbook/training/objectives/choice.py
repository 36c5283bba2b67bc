"""Which passage goes on where another ends: the right one against others of the same document, and each on its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.objectives.rerank import PairGroups


class NextChoice:
    """Sums nats over choices: -log softmax of the right passage among all, which is learned fast, and the binary cross-entropy of
    the right one and of the mean of the others, which makes the score a probability.

    The score is the logit of "is next" less that of "is not", of a next-sentence head. `choice`: the share of first passages
    whose next one has a higher score than the first of the others; `accuracy`: of passages that are right at 0, both kinds
    counted alike. Sources: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.1, task 2 (the binary one); Gao, Dai &
    Callan 2021, https://arxiv.org/abs/2101.08751, equation 3 (the choice).
    """

    def weight(self, micro: PairGroups) -> float:
        return float(len(micro.sizes))

    def loss(self, model: Family, micro: PairGroups) -> LossSum:
        named: dict[str, Any] = {"segments": micro.segments, "head": "sentence"}
        logits = model(micro.ids, micro.batch(), **named).float()[micro.order]  # (S, 2) group by group
        rows = torch.split(logits[:, 0] - logits[:, 1], micro.sizes)
        total = torch.stack([_nats(row) for row in rows]).sum()
        found = [row.detach() for row in rows]
        chosen = sum(float(row[0] > row[1]) + 0.5 * float(row[0] == row[1]) for row in found)
        right = sum(0.5 * float(row[0] > 0) + 0.5 * float((row[1:] < 0).float().mean()) for row in found)
        count = self.weight(micro)
        return LossSum(total, count, {"choice": (chosen, count), "accuracy": (right, count)})


def _nats(row: Tensor) -> Tensor:
    """row: (n,) scores, that of the right passage first -> ()."""
    return torch.logsumexp(row, 0) - row[0] + 0.5 * (F.softplus(-row[0]) + F.softplus(row[1:]).mean())
