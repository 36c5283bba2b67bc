"""The objective of PPO against a plain loop, and what holds before the first change."""

from __future__ import annotations

import math

import pytest
import torch

from openbook.training.objectives.policy_names import PolicyKnobs
from openbook.training.objectives.ppo import ProximalPolicy
from openbook.training.sources.experience import Experience
from small_ppo import critic, judged, policy


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_in_the_first_small_batch_every_ratio_is_1_and_nothing_is_clipped_exactly(kind: str) -> None:
    model, beside = policy(), critic(kind)
    objective = ProximalPolicy(beside, PolicyKnobs(), temperature=0.7)
    for micro in judged(model, beside, policy(9)):
        found = objective.loss(model.train(), micro)
        for name in ("clip_fraction", "clip_low", "clip_high", "approx_kl", "value_clip_fraction"):
            assert found.metrics[name][0] == 0, name
        assert float(found.metrics["policy_loss"][0]) == float(-micro.advantages.double().sum())
        assert float(found.total.detach()) == pytest.approx(objective.first_loss(micro), rel=1e-5)


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_it_is_the_clipped_loss_of_both(kind: str) -> None:
    model, beside = policy(), critic(kind)
    micros = judged(model, beside, policy(9))
    other, later = policy(5), critic(kind)
    if kind == "separate":
        later = critic("shared")
    objective = ProximalPolicy(later, PolicyKnobs(), value_clip=0.1, value_weight=0.3, temperature=0.7)
    for micro in micros:
        found = objective.loss(other, micro)
        said = later.said(other, micro, _head(micro))
        total = 0.0
        rows = zip(
            said.logprobs.tolist(),
            said.values.tolist(),
            micro.old.tolist(),
            micro.values.tolist(),
            micro.advantages.tolist(),
            micro.returns.tolist(),
            strict=True,
        )
        for logprob, value, old, before, gained, wanted in rows:
            ratio = math.exp(logprob - old)
            total += max(-ratio * gained, -min(max(ratio, 0.8), 1.2) * gained)
            held = min(max(value, before - 0.1), before + 0.1)
            total += 0.3 * 0.5 * max((value - wanted) ** 2, (held - wanted) ** 2)
        assert float(found.total.detach()) == pytest.approx(total, rel=1e-4)
        assert found.weight == objective.weight(micro) == len(micro.targets)


def _head(micro: Experience) -> object:
    from openbook.training.logprobs import TargetLogprobs

    return TargetLogprobs(micro.targets, temperature=0.7)


def test_log_probabilities_are_those_of_the_temperature_that_was_drawn_at() -> None:
    """At another one the ratios would not begin as 1."""
    model, beside = policy(), critic("shared")
    micro = judged(model, beside)[0]
    wrong = ProximalPolicy(beside, PolicyKnobs(), temperature=1.0).loss(model, micro)
    assert wrong.metrics["approx_kl"][0] > 0


def test_a_step_makes_good_answers_likelier_and_values_better() -> None:
    model, beside = policy(), critic("separate")
    micros = judged(model, beside, scores=[5.0, -5, 5, -5, 5, -5])
    objective = ProximalPolicy(beside, PolicyKnobs(), temperature=0.7)
    both = [*model.parameters(), *beside.parameters()]
    before = [objective.loss(model, one).metrics for one in micros]
    optimizer = torch.optim.Adam(both, lr=1e-2, eps=1e-5)
    for _ in range(5):
        optimizer.zero_grad()
        sum(objective.loss(model, one).total for one in micros).backward()  # type: ignore[union-attr]
        optimizer.step()
    after = [objective.loss(model, one).metrics for one in micros]
    for name in ("policy_loss", "value_loss"):
        assert sum(one[name][0] for one in after) < sum(one[name][0] for one in before), name
