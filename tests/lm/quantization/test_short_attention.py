"""Two products in place of the fused kernel: the same to rounding, and the fused one for everything else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.nn.attend import Probabilities, attend
from openbook.lm.quantization import short_attention
from openbook.lm.quantization.short_attention import attend_short

PROBABILITIES = Probabilities()


def drawn(B: int, T: int, H: int, G: int, D: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(T)
    return tuple(torch.randn(B, T, heads, D, generator=generator).to(dtype) for heads in (H, G, G))


@given(
    B=st.integers(1, 3), T=st.integers(2, 70), G=st.integers(1, 3), shared=st.integers(1, 3), D=st.sampled_from([8, 24])
)
def test_it_is_attention_to_rounding_and_each_sequence_by_itself(B: int, T: int, G: int, shared: int, D: int) -> None:
    q, k, v = drawn(B, T, G * shared, G, D, torch.bfloat16)
    found = attend_short(q, k, v, PROBABILITIES, scale=D**-0.5, causal=True)
    want = attend(q.float(), k.float(), v.float(), PROBABILITIES, scale=D**-0.5, causal=True)
    assert (found.float() - want).norm() < 0.01 * want.norm()
    alone = attend_short(q[:1], k[:1], v[:1], PROBABILITIES, scale=D**-0.5, causal=True)
    assert torch.equal(alone, found[:1])


@pytest.mark.parametrize("limit", [1, 1 << 20, 1 << 30])
@pytest.mark.parametrize("T", [256, 300])
def test_long_batches_are_the_same_to_the_bit_as_their_sequences(
    T: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_attention, "MAX_SCORE_BYTES", limit)
    q, k, v = drawn(4, T, 8, 4, 64, torch.bfloat16)
    found = attend_short(q, k, v, PROBABILITIES, scale=0.125, causal=True)
    for row in range(4):
        own = (one[row : row + 1] for one in (q, k, v))
        assert torch.equal(attend_short(*own, PROBABILITIES, scale=0.125, causal=True)[0], found[row])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_else_is_the_fused_kernel(dtype: torch.dtype) -> None:
    q, k, v = drawn(2, 20, 4, 2, 8, dtype)
    window = attend_short(q, k, v, PROBABILITIES, scale=0.3, causal=True, window=5)
    assert torch.equal(window, attend(q, k, v, PROBABILITIES, scale=0.3, causal=True, window=5))
    both_ways = attend_short(q, k, v, PROBABILITIES, scale=0.3)
    assert torch.equal(both_ways, attend(q, k, v, PROBABILITIES, scale=0.3))
