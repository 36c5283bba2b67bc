"""One pass over memory gives what the plain layers give, in float32 to rounding and in bfloat16 nearly always to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from openbook.lm.kernels.decoder_rows import narrowed, widened
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.rope import Rope, rotate
from openbook.lm.quantization.one_pass import OnePassNorm, turn_in_place

DTYPES = st.sampled_from([torch.float32, torch.bfloat16])


def drawn(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    steps = (
        2e-6 if want.dtype is torch.float32 else 2**-7
    )  # one step of bfloat16, where a sum was added in another order
    torch.testing.assert_close(got.float(), want.float(), atol=1e-6, rtol=steps)
    assert got.dtype == want.dtype


@given(
    rows=st.integers(1, 7),
    size=st.integers(1, 70),
    seed=st.integers(0, 9),
    dtype=DTYPES,
    scale=st.sampled_from([1e-4, 1, 1e4]),
)
def test_the_norm(rows: int, size: int, seed: int, dtype: torch.dtype, scale: float) -> None:
    plain = RmsNorm(size, 1e-6).requires_grad_(False)
    plain.weight.normal_(1, 0.3, generator=torch.Generator().manual_seed(seed))
    plain = plain.to(dtype)
    x = drawn(rows, 3, size, seed=seed, dtype=dtype) * scale
    close(OnePassNorm(plain)(x), plain(x))


@given(
    rows=st.integers(1, 7),
    heads=st.integers(1, 5),
    kv_heads=st.integers(1, 3),
    half=st.integers(1, 20),
    seed=st.integers(0, 9),
    dtype=DTYPES,
    joined=st.booleans(),
)
@example(rows=1, heads=2, kv_heads=2, half=4, seed=0, dtype=torch.float32, joined=True)
def test_turning(rows: int, heads: int, kv_heads: int, half: int, seed: int, dtype: torch.dtype, joined: bool) -> None:
    D = 2 * half
    both = drawn(rows, (heads + 2 * kv_heads) * D, seed=seed, dtype=dtype)
    values = both[:, (heads + kv_heads) * D :].clone()
    q, k, _ = (part.unflatten(-1, (-1, D)) for part in both.split([heads * D, kv_heads * D, kv_heads * D], dim=-1))
    if not joined:
        q, k = q.clone(), k.clone()
    rotation = Rope(D)(torch.arange(rows) * 37, dtype)
    want = rotate(q, rotation), rotate(k, rotation)
    got = turn_in_place(q, k, rotation)
    for one, other in zip(got, want, strict=True):
        close(one, other)
    assert torch.equal(both[:, (heads + kv_heads) * D :], values)


@pytest.mark.parametrize(
    "value", [0.0, -0.0, 1.0, -3.1415927, 1e-38, 3e38, float("inf"), float("-inf"), 1.00390625, 1.01171875]
)
def test_rounding_to_bfloat16_is_that_of_torch(value: float) -> None:
    want = torch.tensor(value, dtype=torch.float32).bfloat16()
    import numpy as np
    from numba import njit

    @njit
    def there_and_back(x):  # type: ignore[no-untyped-def]
        return widened(narrowed(x))

    assert torch.tensor(there_and_back(np.float32(value))).bfloat16().equal(want)


def test_not_a_number_stays_one() -> None:
    plain = RmsNorm(4, 1e-6).requires_grad_(False)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.tensor([[1.0, float("nan"), 2.0, 3.0]], dtype=dtype)
        assert OnePassNorm(plain.to(dtype))(x).isnan().all()
