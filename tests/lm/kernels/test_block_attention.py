"""Attention over packed blocks, in each way of reading them, against the plain formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.nn.packed_cache import BLOCK, PackedStorage
from openbook.lm.quantization.bfloat16 import why_not_bfloat16

pytestmark = pytest.mark.skipif(bool(why_not_int8()), reason=why_not_int8())

WAYS = [
    pytest.param("float32", marks=pytest.mark.slow),
    pytest.param("widened", marks=pytest.mark.slow),
    pytest.param("pairs", marks=pytest.mark.skipif(bool(why_not_bfloat16()), reason=why_not_bfloat16())),
]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_plain_formula(way: Any) -> None:
    from openbook.lm.kernels.block_attention import make

    attend, store, clear_behind = make(way)
    generator = torch.Generator().manual_seed(0)
    for shared, D, length, tokens, window in ((7, 64, 70, 3, 1 << 40), (1, 16, 33, 33, 10), (4, 48, 16, 1, 1 << 40)):
        dtype = torch.float32 if way == "float32" else torch.bfloat16
        storage = PackedStorage(1, 8, 1, D, dtype)
        storage.v.fill_(float("nan"))
        table = np.array([5, 2, 7, 0, 1], np.int64)
        k_cache, v_cache = storage.arrays()
        keys, values = (torch.randn(length, D, generator=generator).to(dtype).float() for _ in range(2))
        for place in range(length):
            block = table[place // BLOCK]
            store(keys[place].numpy(), values[place].numpy(), k_cache[block, 0], v_cache[block, 0], place % BLOCK, D)
        last = length - 1
        clear_behind(v_cache[table[last // BLOCK], 0], last % BLOCK, D)
        q = torch.randn(tokens, shared * D, generator=generator)
        out = np.empty((tokens, shared * D), np.float32)
        scale, first = np.float32(D**-0.5), length - tokens
        at = (k_cache.ctypes.data, v_cache.ctypes.data, k_cache.strides[0])
        attend(q.numpy(), 0, tokens, first, 0, shared, D, *at, table, scale, window, out)
        scores = torch.einsum("thd,kd->htk", q.view(tokens, shared, D), keys) * float(scale)
        seen = torch.arange(length)[None] - torch.arange(first, length)[:, None]  # (tokens, length)
        scores = scores.masked_fill((seen > 0) | (seen <= -window), -torch.inf)
        want = torch.einsum("htk,kd->thd", scores.softmax(-1), values).flatten(1)
        most = 1e-5 if way != "pairs" else 0.02  # queries and probabilities have 8 bits then
        torch.testing.assert_close(torch.from_numpy(out), want, atol=most, rtol=most)
