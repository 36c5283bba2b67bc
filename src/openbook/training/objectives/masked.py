"""Masked language modelling: the cross-entropy of each hidden token, given all others around it."""

from __future__ import annotations

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.objectives.guesses import Guesses
from openbook.training.sources.masked import MaskedTokens


class MaskedLm:
    """Sums nats over hidden tokens; only their rows meet the head. "accuracy": of an evaluation, tokens that are restored.

    Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.1.
    """

    def weight(self, micro: MaskedTokens) -> float:
        return micro.weight

    def loss(self, model: Family, micro: MaskedTokens) -> LossSum:
        head = Guesses(micro.targets)
        total = model(micro.ids, micro.batch(), rows=micro.rows, head=head)
        return LossSum(total, micro.weight, head.metrics())
