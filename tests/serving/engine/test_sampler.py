"""Tokens are drawn with the probabilities that they have, and from what may be drawn only."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.messages import SamplingParams
from openbook.serving.engine import sampler
from openbook.serving.engine.sampler import allowed, choose, draw, penalise
from openbook.serving.engine.sequence import Sequence

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def sequence(tokens: list[int], prompt: int = 0, **params: Any) -> Sequence:
    return Sequence(0, tokens, SamplingParams(seed=1, **params), prompt)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_probabilities_of_the_softmax(temperature: float) -> None:
    """Chi-square with 5 degrees of freedom: over 20.5 once in a thousand; the seeds are fixed."""
    count = 5_000
    seen = [0] * len(LOGITS)
    drawing = [Sequence(0, [0], SamplingParams(seed=seed, temperature=temperature), 1) for seed in range(count)]
    for chosen in choose(LOGITS.repeat(count, 1), drawing):
        seen[chosen.token] += 1
    expected = (LOGITS / temperature).softmax(0) * count
    assert sum((got - float(want)) ** 2 / float(want) for got, want in zip(seen, expected, strict=True)) < 20.5


def test_a_draw_differs_from_place_to_place_and_is_the_same_again() -> None:
    flat = torch.zeros(1, 1_000)
    drawn = [choose(flat.clone(), [sequence([0] * place, temperature=1.0)])[0].token for place in range(1, 40)]
    assert len(set(drawn)) > 30
    assert drawn == [choose(flat.clone(), [sequence([0] * n, temperature=1.0)])[0].token for n in range(1, 40)]


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({"top_k": 2}, [0, 1]),
        ({"top_k": 99}, [0, 1, 2, 3, 4, 5]),
        ({"top_p": 0.5}, [0]),
        ({"top_p": 0.75}, [0, 1]),
        ({"min_p": 0.2}, [0, 1, 2]),
        ({"top_k": 3, "min_p": 0.3}, [0, 1]),
        ({"top_p": 1e-9}, [0]),
        ({"min_p": 1.0}, [0]),
    ],
)
def test_what_may_be_drawn(params: dict, left: list[int]) -> None:
    probabilities, tokens = allowed(LOGITS, SamplingParams(temperature=1.0, **params))
    assert tokens.tolist() == left
    assert torch.allclose(probabilities, LOGITS.softmax(0)[left], atol=1e-6)


@given(seed=st.integers(0, 1_000), mass=st.floats(0.05, 0.99))
def test_typical_keeps_the_nearest_to_the_expected_surprise(seed: int, mass: float) -> None:
    row = torch.randn(40, generator=torch.Generator().manual_seed(seed))
    p = row.softmax(0)
    surprise = -p.log()
    apart = (surprise - (p * surprise).sum()).abs()
    kept = set(allowed(row, SamplingParams(temperature=1.0, typical_p=mass))[1].tolist())
    assert float(p[sorted(kept)].sum()) >= mass - 1e-5
    worst = max(float(apart[token]) for token in kept)
    assert all(float(apart[token]) >= worst - 1e-6 for token in range(40) if token not in kept)


@given(
    seed=st.integers(0, 100),
    top_p=st.floats(0.1, 0.99),
    min_p=st.floats(0, 0.5),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_the_short_way_keeps_what_the_long_way_keeps(seed: int, top_p: float, min_p: float, spread: float) -> None:
    row = torch.randn(3_000, generator=torch.Generator().manual_seed(seed)) * spread
    params = SamplingParams(temperature=1.0, top_p=top_p, min_p=min_p)
    before = sampler._LIKELY
    try:
        sampler._LIKELY = 100
        short = allowed(row, params)[1].tolist()
        sampler._LIKELY = 10_000
        whole = allowed(row, params)[1].tolist()
    finally:
        sampler._LIKELY = before
    # Sums of float32 are added in another order, which may move the last one.
    assert abs(len(short) - len(whole)) <= 1
    assert short[: len(whole) - 1] == whole[: len(short) - 1] or short[:-1] == whole[:-1] or len(whole) <= 1


def test_penalties_and_biases() -> None:
    row = LOGITS.clone()
    penalise(row, sequence([0, 4, 1, 1], prompt=2, repetition_penalty=2.0))
    assert row.tolist() == [1.0, 0.5, 0.5, 0.0, -2.0, -3.0]
    row = LOGITS.clone()
    penalise(row, sequence([0, 4, 1, 1], prompt=2, presence_penalty=0.5, frequency_penalty=0.25))
    assert row.tolist() == [2.0, 0.0, 0.5, 0.0, -1.0, -3.0]
    row = LOGITS.clone()
    penalise(row, sequence([0], logit_bias=((5, 100.0), (0, -math.inf))))
    assert row[5] == 97.0
    assert choose(LOGITS[None].clone(), [sequence([0], logit_bias=((5, 100.0),))])[0].token == 5


def test_logprobs_are_those_of_the_softmax() -> None:
    (chosen,) = choose(LOGITS[None].clone(), [sequence([0], logprobs=2)])
    want = LOGITS.log_softmax(0)
    assert chosen.logprob == pytest.approx(float(want[0]))
    assert [token for token, _ in chosen.likeliest] == [0, 1]


@given(uniform=st.floats(0, 1, exclude_max=True))
def test_every_uniform_number_gives_a_token_that_may_be_drawn(uniform: float) -> None:
    assert draw(LOGITS, SamplingParams(temperature=1.0, top_k=3), uniform) in (0, 1, 2)


def test_who_asks_for_logprobs_gets_the_same_tokens() -> None:
    row = torch.randn(1, 700, generator=torch.Generator().manual_seed(0))
    for place in range(1, 30):
        plain, zero, several = (
            choose(row.clone(), [sequence([0] * place, temperature=0.7, **said)])[0]
            for said in ({}, {"logprobs": 0}, {"logprobs": 3})
        )
        assert plain.token == zero.token == several.token
        assert plain.logprob is None
        assert zero.logprob == pytest.approx(several.logprob, abs=1e-5)
        assert several.logprob == pytest.approx(float(row[0].log_softmax(0)[several.token]), abs=1e-5)


@pytest.mark.parametrize("more", [{}, {"top_k": 5}])
def test_logprobs_after_temperature(more: dict) -> None:
    said = {"temperature": 0.5, "logprobs": 0, "tempered_logprobs": True} | more
    (chosen,) = choose(LOGITS[None].clone(), [sequence([0], **said)])
    assert chosen.logprob == pytest.approx(float((LOGITS / 0.5).log_softmax(0)[chosen.token]), abs=1e-5)


def test_all_at_once_are_those_one_by_one() -> None:
    rows = torch.randn(9, 700, generator=torch.Generator().manual_seed(0))
    drawing = [Sequence(0, [0] * (at + 1), SamplingParams(seed=2**70 + at, temperature=0.9), 1) for at in range(9)]
    together = [chosen.token for chosen in choose(rows.clone(), drawing)]
    assert together == [choose(rows[at : at + 1].clone(), [one])[0].token for at, one in enumerate(drawing)]
    assert sampler._uniforms(drawing).tolist() == [sampler._uniform(one) for one in drawing]
