"""A token is drawn from the softmax of a whole row, without sorting it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.drawing import draw_rows


def drawn(logits: np.ndarray, count: int, scale: float, uniforms: np.ndarray, told: float | None = None):
    rows = np.arange(len(uniforms)) % len(logits)
    tokens, logprobs = np.empty(len(rows), np.int64), np.empty(len(rows), np.float64)
    scales = np.full(len(rows), scale, np.float32)
    tolds = np.full(len(rows), scale if told is None else told, np.float32)
    draw_rows(logits, count, rows, scales, tolds, uniforms, tokens, logprobs)
    return rows, tokens, logprobs


def softmax(row: np.ndarray) -> np.ndarray:
    shares = np.exp(row.astype(np.float64) - row.max())
    return shares / shares.sum()


@given(
    seed=st.integers(0, 10_000),
    count=st.sampled_from([1, 2, 511, 512, 513, 1_700]),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_the_place_is_that_of_the_sums(seed: int, count: int, scale: float) -> None:
    """Where the uniform number lies between the sums before and behind the token, up to float32's rounding."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(3, count + 7)).astype(np.float32) * 3
    uniforms = random.random(9)
    rows, tokens, logprobs = drawn(logits, count, scale, uniforms)
    for row, token, uniform, logprob in zip(rows, tokens, uniforms, logprobs, strict=True):
        shares = softmax(logits[row, :count] * np.float32(scale))
        sums = shares.cumsum()
        assert sums[token] > uniform - 1e-5
        assert sums[token] - shares[token] <= uniform + 1e-5
        assert logprob == pytest.approx(np.log(shares[token]), abs=1e-5)


def test_logprobs_may_be_those_before_temperature() -> None:
    logits = np.array([[1.0, 2.0, 0.5]], np.float32)
    _, tokens, logprobs = drawn(logits, 3, 0.25, np.array([0.1, 0.5, 0.9]), told=1.0)
    assert np.allclose(logprobs, np.log(softmax(logits[0]))[tokens], atol=1e-6)


@given(uniform=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 50))
def test_what_is_forbidden_is_never_drawn(uniform: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(1, 1_100)).astype(np.float32)
    allowed = random.choice(1_100, 5, replace=False)
    forbidden = np.setdiff1d(np.arange(1_100), allowed)
    logits[0, forbidden] = -np.inf
    _, tokens, _ = drawn(logits, 1_100, 1.0, np.array([uniform]))
    assert tokens[0] in allowed


def test_the_ends_of_the_unit_interval() -> None:
    logits = np.full((1, 600), -np.inf, np.float32)
    logits[0, [3, 599]] = 0.0
    _, tokens, logprobs = drawn(logits, 600, 1.0, np.array([0.0, 0.4999, 0.5001, np.nextafter(1.0, 0.0)]))
    assert tokens.tolist() == [3, 3, 599, 599]
    assert np.allclose(logprobs, np.log(0.5), atol=1e-6)
