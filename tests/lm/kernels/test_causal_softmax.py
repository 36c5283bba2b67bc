from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.cpu import cpu_features

if not cpu_features():
    pytest.skip("needs llvmlite", allow_module_level=True)

from openbook.lm.kernels.causal_softmax import causal_softmax


@given(R=st.integers(1, 4), T=st.integers(1, 70), scale=st.sampled_from([0.1, 3.0, 60.0]), seed=st.integers(0, 9))
def test_it_is_masking_and_softmax(R: int, T: int, scale: float, seed: int) -> None:
    drawn = torch.randn(R, T, T, generator=torch.Generator().manual_seed(seed)) * scale
    scores = drawn.bfloat16()
    want = scores.float().masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
    causal_softmax(scores.view(torch.uint16).numpy())
    assert (scores.float() - want).abs().max() < 2.0**-8  # a rounding of a number up to 1
    assert not scores.triu(1).any()
