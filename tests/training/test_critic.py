"""Critics: what they say before they learn, and that they say it of the state before a token."""

from __future__ import annotations

import pytest
import torch

from openbook.core.errors import ModelUnavailable
from openbook.training.critic import SeparateCritic, SharedCritic, said_by
from openbook.training.logprobs import TargetLogprobs
from openbook.training.sources.answers import Answers
from small_ppo import answers, critic, policy, scorer, shared


def test_a_new_head_says_0_everywhere_and_has_a_gradient() -> None:
    model, head = policy(), SharedCritic(16)
    said = said_by(model, head, Answers.of(answers()), 1.0)
    assert (said.values == 0).all()
    ((said.values - 1) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    assert head.head.weight.grad is not None and (head.head.weight.grad != 0).any()


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_log_probabilities_are_those_of_the_policy_alone(kind: str) -> None:
    model, micro = policy(), Answers.of(answers())
    said = said_by(model, critic(kind), micro, 0.7)
    head = TargetLogprobs(micro.targets, temperature=0.7)
    assert torch.equal(said.logprobs, model(micro.ids, micro.batch(), rows=micro.rows, head=head))
    logits = model(micro.ids, micro.batch(), rows=micro.rows).detach() / 0.7
    wanted = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(said.entropies, wanted)


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_a_value_is_that_of_the_text_before_its_token(kind: str) -> None:
    """Another token in its place changes the values behind it, not its own."""
    model, beside = policy(), critic(kind)
    ids, marks = answers()[2]
    other = ids.copy()
    other[8] = (other[8] + 1) % 40
    one, two = (said_by(model, beside, Answers.of([(x, marks)]), 1.0).values.detach() for x in (ids, other))
    same = 8 - 6 + 1  # of the answer's tokens, which begin at 6
    assert torch.equal(one[:same], two[:same]) and not torch.isclose(one[same:], two[same:]).all()


def test_values_of_a_separate_critic_are_the_scores_of_its_model() -> None:
    reward, micro = scorer(), Answers.of(answers())
    said = said_by(policy(), SeparateCritic(reward), micro, 1.0)
    torch.testing.assert_close(said.values, reward(micro.ids, micro.batch(), rows=micro.rows)[:, 0])


def test_a_shared_critic_teaches_the_policys_trunk_and_a_separate_one_does_not() -> None:
    for kind, is_taught in (("shared", True), ("separate", False)):
        model = policy()
        said_by(model, critic(kind), Answers.of(answers()), 1.0).values.sum().backward()  # type: ignore[no-untyped-call]
        assert (model.get_parameter("layers.0.attention.q.weight").grad is not None) is is_taught, kind


def test_modes_are_as_they_were() -> None:
    model, head = policy().train(), shared().train()
    said_by(model, head, Answers.of(answers()), 1.0)
    assert model.training and head.training


def test_a_model_that_writes_is_no_critic() -> None:
    with pytest.raises(ModelUnavailable, match="one label"):
        SeparateCritic(policy())
