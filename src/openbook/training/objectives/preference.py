"""Preference of one answer over another: the model's log-probabilities of both, and those of the model that it began as.

With an adapter the reference is the same model without it; else its log-probabilities were computed before the first step
(`training.reference`). No second model is in memory. In reading order: what both objectives share; pairs; single answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from openbook.lm.adapters.attach import base_alone
from openbook.lm.families.base import Family
from openbook.training.logprobs import TargetLogprobs, per_sequence
from openbook.training.loss import LossSum
from openbook.training.objectives.preference_losses import first_loss, kto_losses, pair_losses
from openbook.training.objectives.preference_names import NORMALISED, WITH_REFERENCE, Knobs, PairLoss
from openbook.training.parallel import Ranks
from openbook.training.sources.answers import Answers, LikedAnswers, PreferredPairs


def answer_logprobs(model: Family, micro: Answers) -> Tensor:
    """(S,) float32: log p(answer | prompt), the sum over its tokens."""
    found = model(micro.ids, micro.batch(), rows=micro.rows, head=TargetLogprobs(micro.targets))
    return per_sequence(found, micro.owners, len(micro))


@torch.no_grad()
def reference_logprobs(model: Family, micro: Answers) -> Tensor:
    """(S,) of the model without its adapter, which is not trained: nothing is dropped out."""
    was_training = model.training
    model.eval()
    try:
        with base_alone(model):
            return answer_logprobs(model, micro)
    finally:
        model.train(was_training)


class PreferredAnswers:
    """Pairs by `loss`, a unit of weight a pair."""

    def __init__(self, loss: PairLoss, knobs: Knobs) -> None:
        self._loss, self._knobs = loss, knobs

    def weight(self, micro: PreferredPairs) -> float:
        return float(micro.pairs)

    def first_loss(self, micro: PreferredPairs) -> float | None:
        """The sum over `micro` of a model that is its reference, where the data alone tells it."""
        one = first_loss(self._loss, self._knobs)
        return None if one is None else one * micro.pairs

    def loss(self, model: Family, micro: PreferredPairs) -> LossSum:
        sums = answer_logprobs(model, micro)  # (2 P,)
        gained = sums
        if self._loss in WITH_REFERENCE:
            gained = sums - (reference_logprobs(model, micro) if micro.reference is None else micro.reference)
        if self._loss in NORMALISED:
            gained = gained / micro.counts
        pairs = micro.pairs
        nll = -sums[:pairs] / micro.counts[:pairs]
        losses = pair_losses(self._loss, gained[:pairs], gained[pairs:], nll, self._knobs)
        return LossSum(losses.sum(), float(pairs), self._metrics(micro, sums.detach(), gained.detach()))

    def _metrics(self, micro: PreferredPairs, sums: Tensor, gained: Tensor) -> dict[str, tuple[float, float]]:
        pairs, rewards = micro.pairs, self._knobs.beta * gained
        margins = rewards[:pairs] - rewards[pairs:]
        found = {"accuracy": _mean(margins > 0), "margin": _mean(margins)}
        for name, side in (("chosen", slice(pairs)), ("rejected", slice(pairs, None))):
            found[f"reward_{name}"] = _mean(rewards[side])
            found[f"logps_{name}"] = _mean(sums[side])
            found[f"token_logps_{name}"] = float(sums[side].sum()), float(micro.counts[side].sum())
        return found


class LikedOrNot:
    """KTO, a unit of weight an answer. How far the model is from its reference is measured over a whole step at once, so that a
    step is the same for every split.
    """

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs

    def weight(self, micro: LikedAnswers) -> float:
        return float(len(micro))

    def first_loss(self, micro: LikedAnswers) -> float | None:
        good = float(micro.is_good.sum())
        return 0.5 * (self._knobs.desirable * good + self._knobs.undesirable * (len(micro) - good))

    def prepare(self, model: Family, micros: Sequence[LikedAnswers], ranks: Ranks) -> list[LikedAnswers]:
        """Each with the divergence of the step, over all ranks."""
        sums = [self._strange(model, one) for one in micros]
        total, count = ranks.sum([sum(sums), float(sum(map(len, micros)))])
        return [replace(one, divergence=max(total / max(count, 1.0), 0.0)) for one in micros]

    def prepare_evaluation(
        self, model: Family, micros: Sequence[LikedAnswers], ranks: Ranks, spare: Sequence[LikedAnswers]
    ) -> list[LikedAnswers]:
        """With the divergence over all that is held out."""
        for one in spare:
            self._strange(model, one)
        return self.prepare(model, micros, ranks)

    def loss(self, model: Family, micro: LikedAnswers) -> LossSum:
        """Without a known divergence, that of `micro` itself."""
        known = micro.divergence
        if known is None:
            known = max(self._strange(model, micro) / len(micro), 0.0)
        policy = answer_logprobs(model, micro)
        reference = reference_logprobs(model, micro) if micro.reference is None else micro.reference
        losses = kto_losses(policy, reference, micro.is_good, policy.new_tensor(known), self._knobs)
        gained, good = self._knobs.beta * (policy - reference).detach(), micro.is_good
        right = torch.where(good, gained > self._knobs.beta * known, gained <= self._knobs.beta * known)
        metrics = {"accuracy": _mean(right), "divergence": (known * len(micro), float(len(micro)))}
        for name, side in (("chosen", good), ("rejected", ~good)):
            metrics[f"reward_{name}"] = _mean(gained[side])
            metrics[f"logps_{name}"] = _mean(policy.detach()[side])
            metrics[f"token_logps_{name}"] = float(policy.detach()[side].sum()), float(micro.counts[side].sum())
        return LossSum(losses.sum(), float(len(micro)), metrics)

    @torch.no_grad()
    def _strange(self, model: Family, micro: LikedAnswers) -> float:
        """Sum over answers to other prompts of log p(model) - log p(reference)."""
        if micro.strangers is None:
            return 0.0
        known = micro.stranger_reference
        was_training = model.training
        model.eval()
        try:
            policy = answer_logprobs(model, micro.strangers)
        finally:
            model.train(was_training)
        return float((policy - (reference_logprobs(model, micro.strangers) if known is None else known)).sum())


def _mean(values: Tensor) -> tuple[float, float]:
    return float(values.sum()), float(len(values))
