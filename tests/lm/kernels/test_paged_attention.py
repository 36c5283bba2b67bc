"""Attention over blocks where they lie is attention over what was gathered."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.paged_attention import paged_attention_bfloat16, paged_attention_float32
from openbook.lm.nn.attend import Probabilities, attend


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    size=st.integers(1, 5),
    kv_heads=st.integers(1, 3),
    shared=st.integers(1, 3),
    width=st.integers(1, 20),
    window=st.integers(1, 25),
    is_wide=st.booleans(),
    seed=st.integers(0, 9),
)
def test_blocks_are_read_where_they_lie(
    lengths: list[int], size: int, kv_heads: int, shared: int, width: int, window: int, is_wide: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    blocks = -(-max(lengths) // size)
    tables = torch.randperm(len(lengths) * blocks, generator=generator).view(len(lengths), blocks)
    k, v = (torch.randn(len(lengths) * blocks, size, kv_heads, width, generator=generator) for _ in range(2))
    k, v = (k, v) if is_wide else (k.bfloat16(), v.bfloat16())
    q = torch.randn(len(lengths), kv_heads * shared, width, generator=generator)
    out = torch.empty_like(q)
    arrays = [one.numpy() if is_wide else one.view(torch.uint16).numpy() for one in (k, v)]
    kernel = paged_attention_float32 if is_wide else paged_attention_bfloat16
    kernel(q.numpy(), *arrays, tables.numpy(), np.array(lengths), np.float32(0.3), window, out.numpy())
    for row, length in enumerate(lengths):
        keys, values = (one[tables[row]].flatten(0, 1)[:length].float()[None] for one in (k, v))
        want = attend(q[row][None, None], keys, values, Probabilities(), scale=0.3, causal=True, window=window)
        torch.testing.assert_close(out[row], want[0, 0], atol=1e-5, rtol=1e-5)
