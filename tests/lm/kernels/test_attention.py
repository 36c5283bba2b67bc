from __future__ import annotations

import numpy as np
import pytest

from openbook.lm.kernels.cpu import why_not_int8

if why_not_int8():
    pytest.skip(f"int8 {why_not_int8()}", allow_module_level=True)

from numba import njit

from openbook.lm.kernels.attention import ROWS, attend


@njit  # type: ignore[untyped-decorator]
def call(qkv, length, num_heads, head_dim, out):  # type: ignore[no-untyped-def]
    attend(qkv, length, num_heads, head_dim, out)


@pytest.mark.parametrize("length", [1, 11, 12, 13, 31, 32, 33, 65])
@pytest.mark.parametrize("head_dim", [32, 64])
def test_equals_softmax_of_the_scores_times_values(length: int, head_dim: int) -> None:
    heads, rng = 2, np.random.default_rng(length)
    E = heads * head_dim
    rows = -(-length // ROWS) * ROWS
    qkv = rng.normal(0, 1, (rows, 3 * E)).astype(np.float32)
    out = np.zeros((rows, E), np.float32)
    call(qkv, length, heads, head_dim, out)
    q, k, v = qkv[:length].astype(float).reshape(length, 3, heads, head_dim).transpose(1, 2, 0, 3)
    scores = np.exp(q @ k.transpose(0, 2, 1))
    want = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(length, E)
    assert np.allclose(out[:length], want, atol=1e-5)
    assert not out[length:].any()
