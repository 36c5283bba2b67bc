"""Reward models: how good an answer is, from which of two is better; or how right each step of a solution is."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.objectives.preference_losses import reward_losses
from openbook.training.sources.scored import Scored, ScoredPairs, ScoredSteps


def scores(model: Family, micro: Scored) -> Tensor:
    """(R,) float32, one for each of `micro.rows`."""
    if micro.is_causal:
        found: Tensor = model(micro.ids, micro.batch(), rows=micro.rows)
        return found.float()[:, 0]
    named: dict[str, Any] = {"segments": micro.segments, "head": "sentence"}
    return model(micro.ids, micro.batch(), **named).float()[:, 0][micro.places]  # type: ignore[no-any-return]


class PairReward:
    """-log sigmoid(r_c - r_r - margin) + center (r_c + r_r)^2, a unit of weight a pair; ln 2 where all scores are 0 and no
    margin is said. See `preference_losses.reward_losses`.
    """

    def __init__(self, center: float = 0.0, *, is_fresh: bool = True) -> None:
        self._center, self._is_fresh = center, is_fresh

    def weight(self, micro: ScoredPairs) -> float:
        return float(len(micro.margins))

    def first_loss(self, micro: ScoredPairs) -> float | None:
        return float(F.softplus(micro.margins).sum()) if self._is_fresh else None

    def loss(self, model: Family, micro: ScoredPairs) -> LossSum:
        chosen, rejected = scores(model, micro).chunk(2)  # (P,), (P,)
        total = reward_losses(chosen, rejected, micro.margins, self._center).sum()
        pairs, chosen, rejected = self.weight(micro), chosen.detach(), rejected.detach()
        margins = chosen - rejected
        metrics = {
            "accuracy": (float((margins > 0).sum()), pairs),
            "margin": (float(margins.sum()), pairs),
            "reward_chosen": (float(chosen.sum()), pairs),
            "reward_rejected": (float(rejected.sum()), pairs),
        }
        return LossSum(total, pairs, metrics)


class StepReward:
    """Binary cross-entropy of the score at the end of each step, a unit of weight a step; ln 2 where all scores are 0.

    Sources: Lightman et al. 2023, https://arxiv.org/abs/2305.20050, section 2.6; Wang et al. 2023,
    https://arxiv.org/abs/2312.08935, equation 3 (labels between 0 and 1).
    """

    def __init__(self, *, is_fresh: bool = True) -> None:
        self._is_fresh = is_fresh

    def weight(self, micro: ScoredSteps) -> float:
        return float(len(micro.labels))

    def first_loss(self, micro: ScoredSteps) -> float | None:
        return math.log(2) * len(micro.labels) if self._is_fresh else None

    def loss(self, model: Family, micro: ScoredSteps) -> LossSum:
        found = scores(model, micro)
        total = F.binary_cross_entropy_with_logits(found, micro.labels, reduction="sum")
        right = float(((found > 0) == (micro.labels > 0.5)).sum())
        return LossSum(total, self.weight(micro), {"accuracy": (right, self.weight(micro))})
