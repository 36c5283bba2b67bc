"""Experience against the same numbers made answer by answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.small_ppo import answers, critic, judged, policy, shared

from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.settings import LoraSettings
from openbook.training.advantages import gae, whiten
from openbook.training.estimates import Discounts, Estimates
from openbook.training.sources.answers import Answers
from openbook.training.sources.experience import Experience, in_order

SCORES = [1.0, 0.0, 2.0, -1.0, 0.5, 0.25]


def token_logprobs(model: torch.nn.Module, temperature: float) -> list[np.ndarray]:
    """Of what each answer's policy wrote, one forward pass an answer."""
    found = []
    for one in answers():
        micro = Answers.of([one])
        logits = model(micro.ids, micro.batch(), rows=micro.rows).detach() / temperature
        found.append(logits.log_softmax(1).gather(1, micro.targets[:, None])[:, 0].double().numpy())
    return found


def test_rewards_are_the_score_at_the_last_token_less_the_divergence_of_each() -> None:
    model, reference, beside = policy(), policy(9), critic("shared")
    made = judged(model, beside, reference, scores=SCORES, price=0.3)
    old, other = token_logprobs(model, 0.7), token_logprobs(reference, 0.7)
    advantages, returns = [], []
    for number, (p, q) in enumerate(zip(old, other, strict=True)):
        (micro,) = (one for one in (Answers.of([answers()[number]]),))
        values = beside.said(model, micro, _head(micro)).values.detach().double().numpy()
        rewards = -0.3 * (p - q)
        rewards[-1] += SCORES[number]
        own = gae(rewards, values, np.array([len(p)]))
        advantages.append(own.advantages)
        returns.append(own.returns)
    flat = whiten(np.concatenate(advantages))
    cuts = np.cumsum([len(one) for one in advantages])[:-1]
    for number, wanted in enumerate(np.split(flat, cuts)):
        experience, place = (made[0], number) if number < 4 else (made[1], number - 4)
        own_tokens = experience.owners == place
        np.testing.assert_allclose(experience.advantages[own_tokens].numpy(), wanted, atol=2e-5)
        np.testing.assert_allclose(experience.returns[own_tokens].numpy(), returns[number], atol=2e-5)
        np.testing.assert_allclose(experience.old[own_tokens].numpy(), old[number], atol=2e-5)


def _head(micro: Answers) -> object:
    from openbook.training.logprobs import TargetLogprobs

    return TargetLogprobs(micro.targets)


def test_a_policy_that_is_its_reference_has_a_divergence_of_0_exactly() -> None:
    model = policy()
    found = Estimates(model, shared(), model, Discounts(), temperature=1.0)(
        [Answers.of(answers())], [np.array(SCORES)], 0.05
    )
    assert found.divergence == 0 and found.told["kl"] == (0.0, 6.0)


def test_with_an_adapter_the_reference_is_the_model_without_it() -> None:
    model = policy()
    attach(model, LoraSettings(r=2, alpha=4.0, dropout=0.5), "default")
    estimates = Estimates(model.train(), shared(), None, Discounts(), temperature=1.0)
    given = [Answers.of(answers())], [np.array(SCORES)], 0.05
    assert estimates(*given).divergence == 0, "nothing is dropped out, and a fresh adapter changes nothing"
    with torch.no_grad():
        for name, one in model.named_parameters():
            if one.requires_grad:
                one.add_(0.1 if "b" in name.rsplit(".", maxsplit=1)[-1].lower() else 0.0)
    assert estimates(*given).divergence != 0
    assert model.training


def test_answers_are_told_from_each_other_by_their_scores() -> None:
    """A better answer has higher advantages; its values are 0, so the last return is its score."""
    model = policy()
    (made,) = Estimates(model, shared(), model, Discounts(lam=1.0), temperature=1.0)(
        [Answers.of(answers())], [np.array(SCORES)], 0.05
    ).micros
    for place, score in enumerate(SCORES):
        assert made.returns[made.owners == place].tolist() == pytest.approx([score] * int(made.counts[place]))


def test_the_order_of_tokens_is_that_of_the_micro_batch() -> None:
    micro = Answers.of(answers())
    assert in_order(micro).tolist() == [2, 5, 0, 4, 3, 1]
    assert torch.equal(torch.repeat_interleave(in_order(micro), micro.counts[in_order(micro)].long()), micro.owners)


def test_advantages_are_whitened_over_all_micro_batches_and_rewards_keep_their_mean() -> None:
    model, reference = policy(), policy(9)
    made = judged(model, critic("shared"), reference)
    advantages = torch.cat([one.advantages for one in made])
    assert float(advantages.mean()) == pytest.approx(0, abs=1e-6) and float(advantages.std()) == pytest.approx(
        1, abs=1e-4
    )
    found = Estimates(model, shared(), reference, Discounts(lam=1.0, whitens_rewards=True), temperature=1.0)(
        [Answers.of(answers())], [np.full(6, 100.0)], 0.0
    )
    first = [float(found.micros[0].returns[found.micros[0].owners == place][0]) for place in range(6)]
    assert min(first) > 0, "shifted to mean 0, the return of a long answer would be below 0"


def test_experience_survives_json_to_the_bit() -> None:
    import json

    one = judged(policy(), critic("shared"), policy(9))[0].with_told({"reward": (0.1, 3.0)})
    other = Experience.resumed(json.loads(json.dumps(one.state())))
    assert one.told == other.told and one.lengths == other.lengths
    for name, value in vars(one).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(other, name)) and value.dtype == getattr(other, name).dtype, name
