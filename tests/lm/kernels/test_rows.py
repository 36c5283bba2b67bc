from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.cpu import why_not_int8

if why_not_int8():
    pytest.skip(f"int8 {why_not_int8()}", allow_module_level=True)

from openbook.lm.kernels.rows import add_norm_row, exp, gelu_row, quantize_row, softmax_row

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 200)


def row_of(seed: int, n: int, scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, n).astype(np.float32)


@given(st.floats(-80, 0, width=32))
def test_exp(x: float) -> None:
    assert exp(np.float32(x)) == pytest.approx(math.exp(x), rel=2e-6)


@given(seeds, sizes)
def test_gelu(seed: int, n: int) -> None:
    x = row_of(seed, n)
    want = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x.astype(float)]
    gelu_row(x, n)
    assert np.abs(x - want).max() < 5e-6


@given(seeds, sizes)
def test_quantize_is_within_half_a_step(seed: int, n: int) -> None:
    x = row_of(seed, n)
    out = np.zeros(n, np.uint8)
    step, low = quantize_row(x, n, out)
    assert np.abs(low + step * out.astype(float) - x).max() <= 0.501 * step + 1e-6
    assert low == x.min()


def test_quantize_a_constant_row() -> None:
    out = np.ones(5, np.uint8)
    step, low = quantize_row(np.full(5, 2.5, np.float32), 5, out)
    assert low + step * out[0] == pytest.approx(2.5)


@given(seeds, st.integers(2, 200))
def test_add_norm(seed: int, n: int) -> None:
    x, y, w, b = (row_of(seed + i, n) for i in range(4))
    total = x.astype(float) + y
    want = (total - total.mean()) / np.sqrt(total.var() + 1e-5) * w + b
    add_norm_row(x, y, n, w, b, np.float32(1e-5))
    assert np.allclose(x, want, atol=2e-4, rtol=1e-3)


@given(seeds, sizes)
def test_softmax(seed: int, n: int) -> None:
    x = row_of(seed, n + 3, 10.0)
    behind = x[n:].copy()
    want = np.exp(x[:n].astype(float) - x[:n].max())
    softmax_row(x, n)
    assert np.allclose(x[:n], want / want.sum(), atol=1e-6)
    assert np.array_equal(x[n:], behind)
