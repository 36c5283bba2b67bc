"""Language modelling: the cross-entropy of each token that is learned, given those before it."""

from __future__ import annotations

from functools import partial

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum, cross_entropy_sum
from openbook.training.sources.step import Tokens


class NextToken:
    """Sums nats over tokens. Only rows that are learned meet the head."""

    def weight(self, micro: Tokens) -> float:
        return micro.weight

    def loss(self, model: Family, micro: Tokens) -> LossSum:
        head = partial(cross_entropy_sum, targets=micro.targets)
        return LossSum(model(micro.ids, micro.batch(), rows=micro.rows, head=head), micro.weight)
