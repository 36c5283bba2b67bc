"""Integer weights: as near as their steps allow, as small as promised, and the layer is its dequantized weight."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.nn.linear import Linear
from openbook.lm.quantization.integers import GROUP_SIZES, Int4Linear, Int8Linear


def linear(out: int, wide: int, seed: int = 0, scale: float = 0.02) -> Linear:
    layer = Linear(wide, out)
    generator = torch.Generator().manual_seed(seed)
    layer.weight.data.normal_(0, scale, generator=generator)
    layer.bias.data.normal_(0, 1, generator=generator)  # type: ignore[union-attr]
    return layer.requires_grad_(False)


@given(out=st.integers(1, 9), wide=st.integers(1, 150), seed=st.integers(0, 5))
def test_eight_bits_are_within_half_a_step(out: int, wide: int, seed: int) -> None:
    source = linear(out, wide, seed)
    packed = Int8Linear(source)
    assert ((packed.dequantized() - source.weight).abs() <= 0.5001 * packed.step[:, None]).all()


@given(
    out=st.integers(1, 9),
    wide=st.integers(1, 150),
    seed=st.integers(0, 5),
    group=st.sampled_from(GROUP_SIZES),
    asymmetric=st.booleans(),
)
def test_four_bits_are_within_a_step_of_their_group(
    out: int, wide: int, seed: int, group: int, asymmetric: bool
) -> None:
    source = linear(out, wide, seed)
    packed = Int4Linear(source, group, asymmetric=asymmetric)
    back = packed.dequantized()
    assert back.shape == source.weight.shape
    step = packed.step.float().abs().repeat_interleave(group, dim=1)[:, :wide]
    # Half a step, and up to a whole one at the end that symmetric codes lack; float16 steps are off by 2^-11.
    assert ((back - source.weight).abs() <= 1.01 * step + 1e-7).all()


def test_positive_weights_keep_all_sixteen_codes_with_a_zero_point() -> None:
    source = linear(64, 256)
    source.weight.data.abs_()
    plain, shifted = Int4Linear(source, 32), Int4Linear(source, 32, asymmetric=True)
    errors = [(one.dequantized() - source.weight).square().mean() for one in (plain, shifted)]
    assert errors[1] < 0.4 * errors[0]


@pytest.mark.parametrize(("group", "asymmetric", "share"), [(32, False, 0.282), (32, True, 0.297), (128, False, 0.258)])
def test_four_bits_take_the_memory_that_is_promised(group: int, asymmetric: bool, share: float) -> None:
    source = linear(512, 1024)
    size = Int4Linear(source, group, asymmetric=asymmetric).size_bytes
    assert size / (2 * source.weight.numel()) == pytest.approx(share, abs=0.001)
    assert size <= 0.30 * 2 * source.weight.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [Int8Linear, Int4Linear])
def test_the_layer_is_its_dequantized_weight(kind: type, dtype: torch.dtype) -> None:
    source = linear(33, 70)
    packed = kind(source)
    x = torch.randn(5, 70, generator=torch.Generator().manual_seed(1)).to(dtype)
    wanted = x.float() @ packed.dequantized().t() + source.bias
    tolerance = 1e-5 if dtype is torch.float32 else 3e-2
    torch.testing.assert_close(packed(x).float(), wanted, atol=tolerance, rtol=tolerance)
    assert packed(x).dtype == dtype


def test_zeros_and_other_groups() -> None:
    source = linear(4, 64, scale=0.0)
    for packed in (Int8Linear(source), Int4Linear(source), Int4Linear(source, asymmetric=True)):
        assert torch.equal(packed.dequantized(), torch.zeros(4, 64))
    with pytest.raises(ValueError, match="group_size 48 is not one of"):
        Int4Linear(source, 48)
