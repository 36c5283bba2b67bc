"""NF4: near, small, and transparent for gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.nn.linear import Linear
from openbook.lm.quantization import nf4
from openbook.lm.quantization.nf4 import VALUES, Nf4Linear, byte_floats, dequantize_nf4, quantize_nf4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def int4(weight: torch.Tensor) -> torch.Tensor:
    """Fifteen equal steps in blocks of 64: what NF4 has to beat on normal weights."""
    blocks = weight.view(-1, 64)
    step = blocks.abs().amax(dim=1, keepdim=True) / 7
    return ((blocks / step).round() * step).view(weight.shape)


def test_normal_weights_are_nearer_than_with_equal_steps() -> None:
    weight = normal(256, 512) * 0.02
    ours = (dequantize_nf4(quantize_nf4(weight)) - weight).square().mean()
    assert ours < 0.95 * (int4(weight) - weight).square().mean()


def test_a_weight_takes_a_little_over_four_bits() -> None:
    packed = quantize_nf4(normal(1024, 1024))
    assert packed.size_bytes * 8 / 2**20 == pytest.approx(4.127, abs=0.001)


@given(rows=st.integers(1, 5), columns=st.integers(1, 200), scale=st.floats(1e-6, 1e3), seed=st.integers(0, 9))
def test_every_weight_is_within_half_the_widest_gap(rows: int, columns: int, scale: float, seed: int) -> None:
    weight = normal(rows, columns, seed=seed) * scale
    back = dequantize_nf4(quantize_nf4(weight))
    assert back.shape == weight.shape
    widest = max(b - a for a, b in itertools.pairwise(VALUES)) / 2
    # Beside the gap: the step of a block is itself a byte, off by at most a 254th of the spread of the steps.
    assert (back - weight).abs().max() <= (widest + 2 / 127) * weight.abs().max() * 1.01


def test_what_is_quantized_stays_what_it_is_when_quantized_again() -> None:
    once = dequantize_nf4(quantize_nf4(normal(64, 64)))
    assert torch.equal(dequantize_nf4(quantize_nf4(torch.zeros(3, 70))), torch.zeros(3, 70))
    twice = dequantize_nf4(quantize_nf4(once))
    assert (once - twice).norm() < 0.02 * once.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_is_its_dequantized_weight_and_lets_gradients_through(dtype: torch.dtype) -> None:
    source = Linear(70, 33)
    source.bias.data.normal_()  # type: ignore[union-attr]
    layer = Nf4Linear(source)
    x = normal(5, 70).to(dtype).requires_grad_(True)
    y = layer(x)
    weight = layer.dequantized().to(dtype)
    assert torch.equal(y, x @ weight.t() + source.bias.to(dtype))  # type: ignore[union-attr]
    wanted = normal(5, 33, seed=1).to(dtype)
    y.backward(wanted)
    assert torch.equal(x.grad, wanted @ weight)
    assert not any(one.requires_grad for one in layer.parameters())


def test_the_backward_pass_keeps_no_weight() -> None:
    from openbook.lm.memory import kept_for_backward

    layer = Nf4Linear(Linear(512, 512))
    with kept_for_backward(layer) as kept:
        layer(normal(2, 512).requires_grad_(True))
    assert sum(kept.values()) < 10_000


def test_the_tables_are_those_of_the_papers() -> None:
    # Appendix E of QLoRA: quantiles of N(0, 1), 8 below zero and 9 from it, the outermost at 0.9677083.
    normal_quantiles = torch.distributions.Normal(0.0, 1.0).icdf
    offset = 0.9677083
    positive = normal_quantiles(torch.linspace(offset, 0.5, 9)[:-1])
    negative = -normal_quantiles(torch.linspace(offset, 0.5, 8)[:-1])
    wanted = torch.cat([positive, negative, torch.zeros(1)]).sort().values
    assert torch.allclose(torch.tensor(VALUES), wanted / wanted.max(), atol=1e-6)
    floats = byte_floats()
    assert len(floats.unique()) == 256
    assert floats[-1] == 1
    assert floats[0] == -floats[-2] == pytest.approx(-0.9929688)
    assert float(floats.abs().sort().values[1]) == pytest.approx(0.55e-6)


def test_codes_lie_two_a_byte_along_the_rows_the_first_high() -> None:
    weight = torch.zeros(1, 64)
    weight[0, :4] = torch.tensor([1.0, -1.0, 0.0, 0.44])
    assert quantize_nf4(weight).codes[:2].tolist() == [15 << 4 | 0, 7 << 4 | 12]


def test_a_cast_of_the_model_leaves_the_steps_as_they_are() -> None:
    layer = Nf4Linear(Linear(64, 64))
    want = layer.dequantized()
    assert torch.equal(layer.to(torch.bfloat16).dequantized(), want)


@pytest.mark.skipif(not nf4.has_kernel(), reason="needs a processor with AVX-512")
@given(rows=st.integers(1, 9), columns=st.integers(1, 300), seed=st.integers(0, 9))
def test_the_kernel_gives_the_bits_of_the_plain_form(rows: int, columns: int, seed: int) -> None:
    packed = quantize_nf4(normal(rows, columns, seed=seed) * 10.0 ** (seed - 5))
    got = dequantize_nf4(packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nf4, "has_kernel", lambda: False)
        assert torch.equal(got, dequantize_nf4(packed))


def test_it_is_saved_and_loaded_as_it_is() -> None:
    layer, other = Nf4Linear(Linear(64, 64)), Nf4Linear(Linear(64, 64))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.dequantized(), layer.dequantized())
