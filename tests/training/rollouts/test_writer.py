"""What the model writes is drawn from what it says in training: from shared tensors and from copies."""

from __future__ import annotations

import pytest
import torch

from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.settings import LoraSettings, PrefixSettings
from openbook.lm.families.base import Family
from openbook.training.objectives.policy import known_token_logprobs
from openbook.training.rollouts.episode import Episode
from openbook.training.rollouts.written import Prompted, Written
from openbook.training.sources.answers import Answers
from small_rollouts import model, tokenizer, writer

PROMPTS = [Prompted([5, 9, 12, 40], 3, 7, 10), Prompted(list(range(20, 41)), 2, 900, 6)]


def said_again(of: Family, written: list[list[Written]], temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) log-probabilities by the trainer's forward pass, and those that came with the tokens."""
    trained, told = [], []
    for prompt, group in zip(PROMPTS, written, strict=True):
        for one in group:
            episode = Episode(0, 0, prompt.ids, one.tokens, [True] * len(one.tokens), one.logprobs)
            trained.append(known_token_logprobs(of, Answers.of([episode.answer]), temperature))
            told.append(torch.tensor(one.logprobs))
    return torch.cat(trained), torch.cat(told)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize(
    ("precision", "most"), [("shared", 1e-4), ("float32", 1e-4), ("bfloat16", 0.05), ("int8", 0.1)]
)
def test_its_log_probabilities_are_those_of_the_trainer(precision: str, most: float, temperature: float) -> None:
    policy = model()
    one = writer(policy, temperature, precision=precision)
    renewal = one.renew()
    assert (renewal.bytes > 0) == (precision != "shared")
    trained, told = said_again(policy, one.write(PROMPTS), temperature)
    assert float((trained - told).abs().max()) <= most


@pytest.mark.parametrize("precision", ["shared", "float32"])
def test_what_is_written_follows_the_weights(precision: str) -> None:
    policy = model()
    one = writer(policy, precision=precision)
    one.renew()
    before = one.write(PROMPTS)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    one.renew()
    after = one.write(PROMPTS)
    assert before != after
    trained, told = said_again(policy, after, 1.0)
    assert float((trained - told).abs().max()) <= 1e-4


def test_answers_depend_on_their_seed_alone() -> None:
    policy = model()
    whole = writer(policy, max_num_seqs=64)
    narrow = writer(policy, max_num_seqs=1)
    alone = writer(policy)
    first = whole.write(PROMPTS)
    assert [[one.tokens for one in group] for group in narrow.write(PROMPTS)] == [
        [one.tokens for one in group] for group in first
    ]
    assert alone.write(PROMPTS[1:])[0][0].tokens == first[1][0].tokens


def test_an_answer_has_its_end_token_or_all_its_tokens() -> None:
    end = tokenizer().eos_id
    for group, prompt in zip(writer(model()).write([Prompted([3, 4], 40, 1, 30)]), [PROMPTS[0]], strict=True):
        assert prompt
        for one in group:
            assert len(one.tokens) == len(one.logprobs)
            assert one.is_finished == (one.tokens[-1] == end)
            assert end not in one.tokens[:-1]
            assert one.is_finished or len(one.tokens) == 30


def test_a_training_model_is_in_training_again() -> None:
    policy = model().train()
    writer(policy).write(PROMPTS)
    assert policy.training


def test_gradients_can_be_taken_behind_a_rollout() -> None:
    """Nothing that inference left behind stands in the way of the backward pass."""
    policy = model().train().requires_grad_(True)
    one = writer(policy)
    written = one.write(PROMPTS)
    one.rest()
    trained = Answers.of(
        [
            Episode(0, 0, prompt.ids, each.tokens, [True] * len(each.tokens), each.logprobs).answer
            for prompt, group in zip(PROMPTS, written, strict=True)
            for each in group
        ]
    )
    from openbook.training.objectives.policy import token_logprobs

    token_logprobs(policy, trained, 1.0)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in policy.parameters())


@pytest.mark.parametrize("precision", ["shared", "float32"])
def test_an_adapter_writes(precision: str) -> None:
    policy = model()
    attach(policy, LoraSettings(r=4, alpha=64.0))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith(".b"):
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    one = writer(policy, precision=precision)
    one.renew()
    trained, told = said_again(policy, one.write(PROMPTS), 1.0)
    assert float((trained - told).abs().max()) <= 1e-4
    base = said_again(model(), one.write(PROMPTS), 1.0)
    assert float((base[0] - base[1]).abs().max()) > 1e-2


def test_virtual_tokens_are_refused() -> None:
    policy = model()
    attach(policy, PrefixSettings(num_virtual_tokens=2))
    with pytest.raises(UsageError, match="virtual tokens"):
        writer(policy)
