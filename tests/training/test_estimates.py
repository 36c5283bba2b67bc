"""Estimates against the same numbers made episode by episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.families.base import Family
from openbook.training.advantages import gae, whiten
from openbook.training.critic import said_by
from openbook.training.estimates import Estimates, Estimation
from openbook.training.kl_control import KlControl
from openbook.training.sources.answers import Answers
from small_ppo import PARTS, SCORES, answers, critic, episodes, estimates, judged, policy, shared

TOGETHER = [[0, 1, 2, 3, 4, 5]]


def token_logprobs(model: Family, temperature: float) -> list[np.ndarray]:
    """Of what each answer's policy wrote, one forward pass an answer."""
    found = []
    for one in answers():
        micro = Answers.of([one])
        logits = model(micro.ids, micro.batch(), rows=micro.rows).detach() / temperature
        found.append(logits.log_softmax(1).gather(1, micro.targets[:, None])[:, 0].double().numpy())
    return found


def test_rewards_are_the_score_at_the_last_token_less_the_divergence_of_each() -> None:
    model, reference, beside = policy(), policy(9), critic("shared")
    made = judged(model, beside, reference, price=0.3)
    old, other = token_logprobs(model, 0.7), token_logprobs(reference, 0.7)
    advantages, returns = [], []
    for number, (p, q) in enumerate(zip(old, other, strict=True)):
        micro = Answers.of([answers()[number]])
        values = said_by(model, beside, micro, 1.0).values.detach().double().numpy()
        rewards = -0.3 * (p - q)
        rewards[-1] += SCORES[number]
        own = gae(rewards, values, np.array([len(p)]))
        advantages.append(own.advantages)
        returns.append(own.returns)
    flat = whiten(np.concatenate(advantages))
    cuts = np.cumsum([len(one) for one in advantages])[:-1]
    for number, wanted in enumerate(np.split(flat, cuts)):
        experience, place = (made[0], number) if number < 4 else (made[1], number - 4)
        mine = experience.owners == place
        np.testing.assert_allclose(experience.advantages[mine].numpy(), wanted, atol=2e-5)
        np.testing.assert_allclose(experience.returns[mine].numpy(), returns[number], atol=2e-5)
        np.testing.assert_allclose(experience.old[mine].numpy(), old[number], atol=2e-5)
        assert len(wanted) == sum(episodes()[number].learned), "what a tool wrote has no advantage"


def test_a_policy_that_is_its_reference_has_a_divergence_of_0_exactly() -> None:
    model = policy()
    _, told = estimates(model, shared(), model).prepare(episodes(), PARTS)
    assert told["kl"] == (0.0, 27.0) and told["kl_answer"] == (0.0, 6.0)


def test_with_an_adapter_the_reference_is_the_model_without_it() -> None:
    model = policy()
    attach(model, LoraSettings(r=2, alpha=4.0, dropout=0.5), "default")
    learner = estimates(model.train(), shared(), None)
    assert learner.prepare(episodes(), PARTS)[1]["kl"][0] == 0, (
        "a fresh adapter changes nothing, nothing is dropped out"
    )
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(0.1)
    assert learner.prepare(episodes(), PARTS)[1]["kl"][0] != 0
    assert model.training


def test_with_lambda_1_the_return_of_every_token_is_the_score_of_its_answer() -> None:
    model = policy()
    values, _ = estimates(model, critic("shared"), model, Estimation(lam=1.0)).prepare(episodes(), PARTS)
    for returns, score in zip(values["returns"], SCORES, strict=True):
        assert returns.tolist() == pytest.approx([score] * len(returns), abs=1e-5)


def test_an_answer_that_does_not_end_by_itself_pays_for_it() -> None:
    model, made = policy(), episodes()
    made[1] = replace(made[1], is_finished=False)
    learner = estimates(model, shared(), model, Estimation(lam=1.0, missing_eos_penalty=2.0))
    returns = learner.prepare(made, TOGETHER)[0]["returns"]
    assert returns[1].tolist() == [SCORES[1] - 2.0] and returns[0].tolist() == [SCORES[0]] * 5


def test_advantages_are_whitened_over_all_and_rewards_keep_their_mean() -> None:
    model, reference = policy(), policy(9)
    values, _ = estimates(model, critic("shared"), reference).prepare(episodes(), PARTS)
    advantages = np.concatenate(values["advantages"])
    assert float(advantages.mean()) == pytest.approx(0, abs=1e-6)
    assert float(advantages.std(ddof=1)) == pytest.approx(1, abs=1e-4)
    whitening = estimates(model, shared(), reference, Estimation(lam=1.0, whiten_rewards=True), price=0.0)
    values, _ = whitening.prepare(episodes([100.0] * 6), TOGETHER)
    assert min(float(one[0]) for one in values["returns"]) > 0, (
        "shifted to 0, the first returns of long answers are not"
    )


def test_what_a_part_leaves_out_is_judged_too() -> None:
    model, reference = policy(), policy(9)
    whole, _ = estimates(model, critic("shared"), reference).prepare(episodes(), PARTS)
    first, _ = estimates(model, critic("shared"), reference).prepare(episodes(), PARTS[:1])
    for name, each in whole.items():
        for one, other in zip(each, first[name], strict=True):
            np.testing.assert_array_equal(one, other)


def test_episodes_of_which_nothing_is_learned_change_nothing() -> None:
    model, reference = policy(), policy(9)
    made = episodes()
    left_out = replace(made[3], is_left_out=True)
    with_it, _ = estimates(model, shared(), reference).prepare([*made[:3], left_out, *made[4:]], TOGETHER)
    without, _ = estimates(model, shared(), reference).prepare([*made[:3], *made[4:]], [[0, 1, 2, 3, 4]])
    assert len(with_it["old"][3]) == 0
    for name in with_it:
        np.testing.assert_allclose(np.concatenate(with_it[name]), np.concatenate(without[name]), atol=1e-5)


def test_the_price_of_the_next_rollout_is_made_of_this_one_and_is_kept() -> None:
    model, reference = policy(), policy(9)
    learner = Estimates(model, shared(), reference, KlControl(0.1, 1e-3, 60), Estimation(), temperature=0.7)
    _, told = learner.prepare(episodes(), PARTS)
    divergence = told["kl_answer"][0] / 6
    assert told["kl_price"] == (0.1, 1.0)
    assert learner.state()["price"] == pytest.approx(0.1 * (1 + (0.2 if divergence > 1e-3 else -0.2) * 6 / 60))
    learner.resume({"price": 0.7})
    assert learner.prepare(episodes(), PARTS)[1]["kl_price"] == (0.7, 1.0)
