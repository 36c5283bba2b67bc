"""Weights as integers, activations as floats: 8 bits a weight with one step an output, or 4 bits with one step a group.

Round-to-nearest, the plain reference of every faster path: `dequantized()` gives the floats that the layer computes with. The
methods that choose better integers (GPTQ, AWQ) fill the same layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.nn.linear import Linear, Packed

GROUP_SIZES = (32, 64, 128)


class Int8Linear(Packed):
    """W ~ step_n q_nk: `weight` (out, in) int8 in -127..127, `step` (out,) float32. y = step (x q^T) + b."""

    weight: Tensor
    step: Tensor

    def __init__(self, source: Linear) -> None:
        super().__init__()
        weight = source.weight.detach().float()
        step = weight.abs().amax(dim=1).clamp_min(1e-12) / 127  # (out,)
        self.register_buffer("weight", (weight / step[:, None]).round().to(torch.int8))
        self.register_buffer("step", step)
        self.bias = None if source.bias is None else nn.Parameter(source.bias.detach(), requires_grad=False)

    @property
    def size_bytes(self) -> int:
        return self.weight.numel() + 4 * self.step.numel()

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        return self.weight.float() * self.step[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        y = F.linear(x, self.weight.to(x.dtype)) * self.step.to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)


class Int4Linear(Packed):
    """Groups of `group_size` neighbours of a row share a step, float16; with `asymmetric` also a zero point, a byte.

    Symmetric: W ~ step (q - 8), asymmetric: W ~ step (q - zero), q in 0..15. `weight` (out, in' / 2) uint8 holds two, the even
    one in the low half; in' is `in` rounded up to whole groups. 4.5 bits a weight with groups of 32, 4.125 with 128; a zero point
    adds 8 / group_size.
    """

    weight: Tensor
    step: Tensor
    zero: Tensor | None

    def __init__(self, source: Linear, group_size: int = 32, *, asymmetric: bool = False) -> None:
        super().__init__()
        if group_size not in GROUP_SIZES:
            raise ValueError(f"group_size {group_size} is not one of {GROUP_SIZES}")
        self.group_size, self.in_features = group_size, source.weight.shape[1]
        weight = F.pad(source.weight.detach().float(), (0, -self.in_features % group_size))
        groups = weight.unflatten(1, (-1, group_size))  # type: ignore[no-untyped-call]  # (out, G, group_size)
        step, zero = _asymmetric(groups) if asymmetric else _symmetric(groups)  # (out, G) each
        codes = (groups / step[..., None].float() + zero[..., None]).round().clamp(0, 15).to(torch.uint8)
        pairs = codes.view(len(weight), -1, 2)
        self.register_buffer("weight", pairs[..., 0] | pairs[..., 1] << 4)
        self.register_buffer("step", step)
        self.register_buffer("zero", zero.to(torch.uint8) if asymmetric else None)
        self.bias = None if source.bias is None else nn.Parameter(source.bias.detach(), requires_grad=False)

    @property
    def size_bytes(self) -> int:
        return self.weight.numel() + 2 * self.step.numel() + (0 if self.zero is None else self.zero.numel())

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        codes = torch.stack([self.weight & 15, self.weight >> 4], dim=2).view(*self.step.shape, self.group_size)
        zero = 8.0 if self.zero is None else self.zero.float()[..., None]
        return ((codes.float() - zero) * self.step.float()[..., None]).flatten(1)[:, : self.in_features]

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        return F.linear(x, self.dequantized().to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


def _symmetric(groups: Tensor) -> tuple[Tensor, Tensor]:
    """The value of largest magnitude becomes -8: that side has one step more. -> steps (out, G) float16, zeros 8."""
    place = groups.abs().argmax(dim=2, keepdim=True)
    extreme = groups.gather(2, place)[..., 0]
    step = _held(extreme / -8)
    return step, torch.full_like(step, 8.0, dtype=torch.float32)


def _asymmetric(groups: Tensor) -> tuple[Tensor, Tensor]:
    """From the least to the largest, 0 among them. -> steps (out, G) float16, zeros in 0..15."""
    low, high = groups.amin(dim=2).clamp_max(0), groups.amax(dim=2).clamp_min(0)
    step = _held((high - low) / 15)
    return step, (-low / step.float()).round().clamp(0, 15)


def _held(step: Tensor) -> Tensor:
    """As it is stored; never 0, by which would be divided."""
    half = step.to(torch.float16)
    return torch.where(half == 0, torch.full_like(half, 6.1e-5), half)
