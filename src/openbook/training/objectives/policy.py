"""A policy learned from rewards of what it wrote: GRPO and its kin, whose parts are in `policy_losses`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.training.logprobs import TargetLogprobs
from openbook.training.loss import LossSum
from openbook.training.objectives.policy_losses import (
    kl_estimates,
    known_or_own,
    ratio_metrics,
    summed,
    surrogate,
    truncated_weights,
    weight_of,
)
from openbook.training.objectives.policy_names import PolicyKnobs
from openbook.training.sources.answers import Answers
from openbook.training.sources.rollouts import Judged, Rollouts


def token_logprobs(model: Family, micro: Answers, temperature: float) -> tuple[Tensor, Tensor]:
    """(M,) log-probabilities of the targets at `temperature`, and the entropies (M,), without gradient, they were drawn from."""
    asked = TargetLogprobs(micro.targets, temperature=temperature, wants_entropy=True)
    named: dict[str, Any] = {"rows": micro.rows, "head": asked}
    logprobs: Tensor = model(micro.ids, micro.batch(), **named)
    return logprobs, asked.entropies


class PolicyGradient:
    """`importance`: most that a token counts for the precision of what wrote it; None: it is not looked at. `max_tokens`: of a
    completion. Completions that are only evaluated have the loss -reward.
    """

    def __init__(
        self, knobs: PolicyKnobs, *, temperature: float, max_tokens: int, importance: float | None = None
    ) -> None:
        self._knobs, self._temperature = knobs, temperature
        self._max_tokens, self._importance = max_tokens, importance

    def weight(self, micro: Rollouts | Judged) -> float:
        if isinstance(micro, Judged):
            return float(len(micro.rewards))
        return weight_of(micro.counts[micro.counts > 0], self._knobs.aggregation, self._max_tokens)

    def first_loss(self, micro: Rollouts | Judged) -> float | None:
        """Of a model that wrote `micro` itself: every ratio is 1, every divergence 0."""
        if isinstance(micro, Judged) or self._importance is not None or not micro.is_first:
            return None
        losses = -micro.advantages.double()
        return float(summed(losses, micro.owners, micro.counts.double(), self._knobs.aggregation))

    def loss(self, model: Family, micro: Rollouts | Judged) -> LossSum:
        if isinstance(micro, Judged):
            return LossSum(-micro.rewards.float().sum(), self.weight(micro), micro.told)
        logprobs, entropies = token_logprobs(model, micro, self._temperature)
        old = logprobs.detach() if micro.old is None else micro.old
        found = surrogate(logprobs, old, micro.advantages, micro.owners, micro.counts, self._knobs)
        losses, metrics = found.losses, {"entropy": _mean(entropies), **micro.told}
        if self._importance is not None:
            weights = truncated_weights(old, known_or_own(micro.sampled, old), self._importance)
            losses = losses * weights
            metrics["importance"] = _mean(weights)
        if micro.reference is not None:
            losses = losses + self._knobs.beta * kl_estimates(logprobs, micro.reference, self._knobs.kl)
            metrics["kl"] = _mean(kl_estimates(logprobs.detach(), micro.reference, "k3"))
        total = summed(losses, micro.owners, micro.counts, self._knobs.aggregation)
        metrics |= ratio_metrics(logprobs.detach(), old, found)
        return LossSum(total, self.weight(micro), metrics, self._mismatch(micro, old))

    def _mismatch(self, micro: Rollouts, old: Tensor) -> dict[str, float]:
        """The largest difference between what wrote and what learns, of weights that are the same."""
        if micro.old is None and not micro.is_first:
            return {}
        return {"rollout_difference": float((old - known_or_own(micro.sampled, old)).abs().max()) if len(old) else 0.0}


def _mean(values: Tensor) -> tuple[float, float]:
    return float(values.detach().double().sum()), float(len(values))


@torch.no_grad()
def known_token_logprobs(model: Family, micro: Answers, temperature: float) -> Tensor:
    """(M,) in the mode of evaluation: nothing is dropped out."""
    was_training = model.training
    model.eval()
    try:
        return token_logprobs(model, micro, temperature)[0]
    finally:
        model.train(was_training)
