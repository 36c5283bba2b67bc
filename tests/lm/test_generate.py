"""The reference loop: equal to reading everything again, stops where it is told, and draws what it should."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.families.test_initial import FRESH
from openbook.lm.dense import dense
from openbook.lm.families.base import Family
from openbook.lm.generate import Sampling, choose, generate
from openbook.lm.load import new_model


def lively(name: str) -> Family:
    """Wide weights, so that what is likeliest depends on what was read."""
    model = new_model(FRESH[name]).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(8)
    return model


MODELS = {name: lively(name) for name in ("qwen3_moe", "gpt2", "t5")}
PROMPTS = st.lists(st.lists(st.integers(2, 999), min_size=1, max_size=6), min_size=1, max_size=3)


@given(st.sampled_from(sorted(MODELS)), PROMPTS, st.integers(1, 5))
def test_from_the_cache_is_as_if_all_were_read_again(name: str, prompts: list[list[int]], count: int) -> None:
    model = MODELS[name]
    found = generate(model, prompts, count)
    for prompt, new in zip(prompts, found, strict=True):
        for place in range(count):
            if name == "t5":
                begun = torch.tensor([[model.config.start_id, *new[:place]]])
                logits = dense(model, torch.tensor([prompt]), decoder_input_ids=begun)
            else:
                logits = dense(model, torch.tensor([[*prompt, *new[:place]]]))
            assert int(logits[0, -1].argmax()) == new[place]


@pytest.mark.parametrize("name", MODELS)
def test_each_sequence_ends_with_its_own_first_stop(name: str) -> None:
    free = generate(MODELS[name], [[1, 2, 3], [4]], 8)
    stop = free[0][2]
    for stopped, whole in zip(generate(MODELS[name], [[1, 2, 3], [4]], 8, stop=(stop,)), free, strict=True):
        assert stopped == (whole[: whole.index(stop) + 1] if stop in whole else whole)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_draws_the_same(name: str) -> None:
    model, prompts = MODELS[name], [[1, 2, 3], [4, 5]]
    first = generate(model, prompts, 8, sampling=Sampling(1.5, seed=5))
    assert first == generate(model, prompts, 8, sampling=Sampling(1.5, seed=5))
    assert first != generate(model, prompts, 8, sampling=Sampling(1.5, seed=6))


def test_nothing_is_asked_and_nothing_is_read() -> None:
    assert generate(MODELS["gpt2"], [], 3) == []
    assert generate(MODELS["gpt2"], [[1]], 0) == [[]]
    with pytest.raises(ValueError, match="0 tokens"):
        generate(MODELS["gpt2"], [[1], []], 3)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1.0), {0, 1, 2, 3}),
        (Sampling(1.0, top_k=2), {0, 1}),
        (Sampling(1.0, top_p=0.5), {0}),
        (Sampling(1.0, top_p=0.51), {0, 1}),
        (Sampling(1.0, top_p=0.79), {0, 1}),
        (Sampling(1.0, top_p=0.81), {0, 1, 2}),
        (Sampling(0.0), {0}),
    ],
)
def test_what_may_be_drawn_is_drawn_and_nothing_else(sampling: Sampling, kept: set[int]) -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log().expand(2_000, 4)
    drawn = choose(logits, sampling, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == kept


def test_temperature_divides_the_logits() -> None:
    logits = torch.tensor([0.0, 1.0]).expand(20_000, 2)
    drawn = choose(logits, Sampling(2.0), torch.Generator().manual_seed(0))
    assert float(drawn.float().mean()) == pytest.approx(1 / (1 + 2.718281828**-0.5), abs=0.01)
