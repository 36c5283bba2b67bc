"""Half bytes times bytes: the kernel is its reference, for every shape and zero point, a row the same in any company."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.quantization.test_integers import linear
from openbook.lm.kernels.cpu import why_not_int8

if why_not_int8():
    pytest.skip(f"int4 {why_not_int8()}", allow_module_level=True)

from openbook.lm.quantization.dynamic4 import DynamicInt4Linear
from openbook.lm.quantization.integers import GROUP_SIZES, Int4Linear


def rows(count: int, wide: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, wide, generator=torch.Generator().manual_seed(seed))


@given(
    out=st.integers(1, 140),
    wide=st.integers(1, 300),
    count=st.integers(1, 14),
    seed=st.integers(0, 3),
    group=st.sampled_from(GROUP_SIZES),
    asymmetric=st.booleans(),
)
def test_the_kernel_is_its_reference(out: int, wide: int, count: int, seed: int, group: int, asymmetric: bool) -> None:
    source = Int4Linear(linear(out, wide, seed), group, asymmetric=asymmetric)
    layer = DynamicInt4Linear(source)
    assert torch.equal(layer.dequantized(), source.dequantized())
    x = rows(count, wide, seed) + 0.5
    torch.testing.assert_close(layer(x), layer.plain(x), atol=1e-5, rtol=1e-4)


@given(count=st.integers(1, 20), data=st.data())
def test_a_row_is_the_same_to_the_bit_in_any_company(count: int, data: st.DataObject) -> None:
    layer = DynamicInt4Linear(Int4Linear(linear(130, 200), asymmetric=data.draw(st.booleans())))
    place = data.draw(st.integers(0, count - 1))
    x = rows(count, 200, seed=count)
    x[data.draw(st.integers(0, count - 1))] *= data.draw(st.sampled_from([1.0, 1000.0]))
    assert torch.equal(layer(x)[place], layer(x[place : place + 1])[0])


def test_bytes_of_activations_cost_little_beside_half_bytes_of_weights() -> None:
    source = linear(256, 512)
    x = rows(9, 512)
    want = x @ source.weight.t() + source.bias
    four = Int4Linear(source)
    with_floats, with_bytes = four(x), DynamicInt4Linear(four)(x)
    lost, more = (with_floats - want).norm(), (with_bytes - with_floats).norm()
    assert more < 0.2 * lost


@pytest.mark.parametrize(("group", "asymmetric", "share"), [(32, False, 0.283), (32, True, 0.299), (128, False, 0.260)])
def test_the_packed_order_takes_what_is_promised(group: int, asymmetric: bool, share: float) -> None:
    layer = DynamicInt4Linear(Int4Linear(linear(1024, 2048), group, asymmetric=asymmetric))
    assert layer.size_bytes / (2 * 1024 * 2048) == pytest.approx(share, abs=0.001)


def test_constant_rows_other_dtypes_and_shapes() -> None:
    layer = DynamicInt4Linear(Int4Linear(linear(130, 70)))
    for x in (torch.zeros(2, 70), torch.full((2, 70), 3.0)):
        torch.testing.assert_close(layer(x), layer.plain(x), atol=1e-5, rtol=1e-4)
    assert layer(rows(3, 70).bfloat16()).dtype == torch.bfloat16
    assert layer(rows(6, 70).view(2, 3, 70)).shape == (2, 3, 130)
