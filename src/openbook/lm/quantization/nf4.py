"""NF4 with double quantization: a weight is one of sixteen values that split a normal distribution into equal parts.

Source: Dettmers et al. 2023 (QLoRA), https://arxiv.org/abs/2305.14314, section 3 and appendix E. The largest magnitudes of
blocks are, after their mean was taken away, 8-bit floats with one float32 scale for 256 of them: 4 + 8/64 + 32/(64 * 256) =
4.127 bits a weight. The sixteen values, the order of the codes, the blocks and the 8-bit floats are those of bitsandbytes.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import Function
from torch.nn import functional as F

from openbook.lm.kernels.cpu import cpu_features
from openbook.lm.nn.linear import Linear, Packed

BLOCK = 64
STEPS_TOGETHER = 256
VALUES = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334),
    *(-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


class Nf4(NamedTuple):
    """Of M weights in B = ceil(M / 64) blocks: `codes` (32 B,) uint8, two a byte, the first in the high half; `steps` (B,) uint8,
    places in `byte_floats`; `steps_of_steps` (ceil(B / 256),) and `mean` () float32. `shape`: of the weights.
    """

    codes: Tensor
    steps: Tensor
    steps_of_steps: Tensor
    mean: Tensor
    shape: torch.Size

    @property
    def size_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self[:4])


def quantize_nf4(weight: Tensor) -> Nf4:
    """The nearest of the sixteen values of each weight over the largest magnitude of its block of 64."""
    flat = F.pad(weight.detach().float().flatten(), (0, -weight.numel() % BLOCK))
    blocks = flat.view(-1, BLOCK)  # (B, 64)
    largest = blocks.abs().amax(dim=1)  # (B,)
    mean = largest.mean()
    groups = F.pad(largest - mean, (0, -len(largest) % STEPS_TOGETHER)).view(-1, STEPS_TOGETHER)
    second = groups.abs().amax(dim=1)  # (B / 256,)
    floats = byte_floats().to(weight.device)
    steps = _nearest(groups / second.clamp_min(1e-12)[:, None], floats).flatten()[: len(largest)]
    values = torch.tensor(VALUES, device=weight.device)
    codes = _nearest(blocks / largest.clamp_min(1e-30)[:, None], values).view(-1, 2)
    return Nf4(codes[:, 0] << 4 | codes[:, 1], steps, second, mean, weight.shape)


def dequantize_nf4(packed: Nf4, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights again, `packed.shape`: by the kernel where the processor has it, which gives the same bits."""
    scale = _scales(packed.steps, packed.steps_of_steps, packed.mean)
    on_cpu = packed.codes.device.type == "cpu" and not isinstance(packed.codes, FakeTensor)
    values = _by_kernel(packed.codes, scale) if on_cpu and has_kernel() else _plain(packed.codes, scale)
    return values[: packed.shape.numel()].view(packed.shape).to(dtype)


def _plain(codes: Tensor, scale: Tensor) -> Tensor:
    """codes: (32 B,), scale: (B,) -> (64 B,) float32."""
    values = F.embedding(codes.int(), _pairs().to(codes.device)).view(-1, BLOCK)  # (B, 64)
    return (values * scale[:, None]).flatten()


def _by_kernel(codes: Tensor, scale: Tensor) -> Tensor:
    from openbook.lm.kernels.nf4_values import nf4_values

    out = torch.empty(2 * len(codes))
    nf4_values(codes.numpy(), scale.numpy(), np.array(VALUES, np.float32), out.numpy())
    return out


def has_kernel() -> bool:
    """Whether the processor can look sixteen values up at a time."""
    return "avx512f" in cpu_features()


def _scales(steps: Tensor, second: Tensor, mean: Tensor) -> Tensor:
    """(B,) float32"""
    return byte_floats().to(steps.device)[steps.int()] * second.repeat_interleave(STEPS_TOGETHER)[: len(steps)] + mean


def _nearest(x: Tensor, values: Tensor) -> Tensor:
    """uint8: the place of the value nearest to each x. The values are sorted, so it is a search among their midpoints."""
    return torch.bucketize(x, (values[1:] + values[:-1]) / 2).to(torch.uint8)


@cache
def byte_floats() -> Tensor:
    """(256,) -1 < x <= 1, sorted: seven decades, each with twice as many values as the one below, 0 and 1.

    Source: Dettmers et al. 2021, https://arxiv.org/abs/2110.02861, section 2.1 (dynamic tree quantization).
    """
    found = [0.0, 1.0]
    for decade in range(7):
        bounds = torch.linspace(0.1, 1, 2**decade + 1)
        middles = (bounds[:-1] + bounds[1:]) / 2 * 10.0 ** (decade - 6)
        found += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(found))


@cache
def _pairs() -> Tensor:
    """(256, 2) the two values that a byte of codes stands for."""
    values = torch.tensor(VALUES)
    return torch.stack([values.repeat_interleave(16), values.repeat(16)], dim=1)


class Nf4Linear(Packed):
    """`source` with its weight in NF4, frozen: gradients go to its input, for adapters above and below it (QLoRA)."""

    codes: Tensor
    steps: Tensor
    steps_of_steps: Tensor
    mean: Tensor

    def __init__(self, source: Linear) -> None:
        super().__init__()
        packed = quantize_nf4(source.weight)
        self.shape = packed.shape
        for name, part in zip(packed._fields, packed[:4], strict=False):
            # Floats as the integers of the same bits, so that a cast of the model leaves them as they are.
            self.register_buffer(name, part.view(torch.int32) if part.is_floating_point() else part)
        self.bias = None if source.bias is None else nn.Parameter(source.bias.detach(), requires_grad=False)

    @property
    def packed(self) -> Nf4:
        second, mean = self.steps_of_steps.view(torch.float32), self.mean.view(torch.float32)
        return Nf4(self.codes, self.steps, second, mean, self.shape)

    @property
    def size_bytes(self) -> int:
        return self.packed.size_bytes

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        return dequantize_nf4(self.packed)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        y: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.to(x.dtype)


class _Product(Function):
    """x W^T, where W is made for the forward pass and made again for the backward pass instead of being kept."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer  # type: ignore[attr-defined]
        return x @ dequantize_nf4(layer.packed, x.dtype).t()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        packed: Nf4 = ctx.layer.packed  # type: ignore[attr-defined]
        return grads[0] @ dequantize_nf4(packed, grads[0].dtype), None
