"""Bytes times bytes: near the float product, the same for a row alone and in company, kernel and reference alike."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.quantization.test_integers import linear
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.quantization.dynamic import DynamicInt8Linear, quantize_rows

needs_vnni = pytest.mark.skipif(bool(why_not_int8()), reason=why_not_int8())
LAYER = DynamicInt8Linear(linear(130, 70))


def rows(count: int, wide: int = 70, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, wide, generator=torch.Generator().manual_seed(seed))


@given(out=st.integers(1, 140), wide=st.integers(1, 90), count=st.integers(1, 14), seed=st.integers(0, 3))
def test_the_product_is_near_the_float_product(out: int, wide: int, count: int, seed: int) -> None:
    source = linear(out, wide, seed)
    layer = DynamicInt8Linear(source)
    x = rows(count, wide, seed)
    # Half a step of every activation, and half of every weight, at worst all of one sign.
    spread = (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) / 255
    weights = torch.from_numpy(layer.packed.scale)[:out]
    bound = (
        0.51 * spread * source.weight.abs().sum(1)
        + 0.51 * weights * x.abs().sum(1, keepdim=True)
        + spread * weights * wide
    )
    assert ((layer(x) - source(x)).abs() <= bound + 1e-4).all()


@needs_vnni
@given(count=st.integers(1, 20), seed=st.integers(0, 5))
def test_the_kernel_is_its_reference(count: int, seed: int) -> None:
    x = rows(count, seed=seed) * 10.0**seed
    torch.testing.assert_close(LAYER(x), LAYER.plain(x), atol=1e-5 * 10.0**seed, rtol=1e-5)


@needs_vnni
@given(count=st.integers(1, 20), data=st.data())
def test_a_row_is_the_same_to_the_bit_in_any_company(count: int, data: st.DataObject) -> None:
    # Seen to fail with one step for all rows of the batch.
    place = data.draw(st.integers(0, count - 1))
    x = rows(count, seed=count)
    x[data.draw(st.integers(0, count - 1))] *= data.draw(st.sampled_from([1.0, 1000.0]))
    assert torch.equal(LAYER(x)[place], LAYER(x[place : place + 1])[0])


def test_the_order_in_memory_loses_nothing_and_takes_a_byte_a_weight() -> None:
    source = linear(128, 64)
    layer = DynamicInt8Linear(source)
    step = source.weight.abs().amax(1, keepdim=True) / 127
    assert torch.equal(layer.integers(), (source.weight / step).round().to(torch.int8))
    assert layer.size_bytes == 128 * 64 + 3 * 4 * 128


def test_constant_rows_zeros_and_other_dtypes() -> None:
    for x in (torch.zeros(2, 70), torch.full((2, 70), 3.0)):
        wanted = x @ LAYER.dequantized().t() + torch.from_numpy(LAYER.packed.bias)[:130]
        torch.testing.assert_close(LAYER(x), wanted, atol=1e-4, rtol=1e-4)
    assert LAYER(rows(3).bfloat16()).dtype == torch.bfloat16
    assert LAYER(rows(6).view(2, 3, 70)).shape == (2, 3, 130)


def test_the_plain_form_of_quantizing_keeps_the_ends() -> None:
    x = rows(4)
    q = quantize_rows(x)
    back = q.low + q.step * q.bytes.float()
    assert ((back - x).abs() <= 0.501 * q.step).all()


def test_onednn_is_an_option_that_says_its_bytes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "openbook"):
        layer = DynamicInt8Linear(linear(130, 70), use_onednn=True)
    if layer._onednn is None:
        pytest.skip("this build of torch has no oneDNN quantized product")
    assert "9100 bytes" in caplog.text
    x = rows(9)
    torch.testing.assert_close(layer(x), LAYER.plain(x), atol=1e-4, rtol=1e-4)
