"""NF4 with double quantization: the frozen base of QLoRA, 4.13 bits a weight.

Source: Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, sections 3 and appendix E. Codes, the order of nibbles (the
first weight high), blocks along the rows and the 8-bit map of the second level are those of bitsandbytes. In reading order:
the two code tables, weights to bytes and back, the layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.nn.linear import Linear, Packed

BLOCK = 64
"""Weights that share one absolute maximum."""
SECOND_BLOCK = 256
"""Maxima that share one scale of the second level."""
CODES = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""Quantiles of N(0, 1), scaled to [-1, 1], with an exact zero."""


class Nf4(NamedTuple):
    """`codes`: two weights a byte. `maxima`: a byte a block of weights; `scales`: (one a block of maxima); `offset`: ()."""

    codes: Tensor
    maxima: Tensor
    scales: Tensor
    offset: Tensor

    @property
    def bits(self) -> int:
        return 8 * sum(part.numel() * part.element_size() for part in self)


@cache
def dynamic_map() -> Tensor:
    """(256,) the 8-bit floats of the second level, sorted: 7 decades, finer the nearer to 1.

    Source: Dettmers et al. 2021, https://arxiv.org/abs/2110.02861, section 1.3 (dynamic tree quantization).
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        bounds = torch.linspace(0.1, 1, 2**exponent + 1)
        means = (bounds[:-1] + bounds[1:]) / 2 * 10 ** (exponent - 6)
        values += [*means.tolist(), *(-means).tolist()]
    return torch.tensor(sorted(values))


def quantize_nf4(weight: Tensor) -> Nf4:
    """The nearest codes of weight / absmax in blocks of 64 (row by row), the maxima in bytes themselves."""
    flat = F.pad(weight.detach().float().flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    maxima = flat.abs().amax(dim=1)
    indices = _nearest(flat / maxima.clamp_min(1e-30)[:, None], torch.tensor(CODES, device=flat.device))
    pairs = indices.to(torch.uint8).view(-1, 2)
    offset = maxima.mean()
    rest = F.pad(maxima - offset, (0, -len(maxima) % SECOND_BLOCK)).view(-1, SECOND_BLOCK)
    scales = rest.abs().amax(dim=1)
    second = _nearest(rest / scales.clamp_min(1e-30)[:, None], dynamic_map().to(flat.device))
    return Nf4(pairs[:, 0] << 4 | pairs[:, 1], second.to(torch.uint8).flatten()[: len(maxima)], scales, offset)


def dequantize_nf4(nf4: Nf4, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights that the bytes stand for."""
    device = nf4.codes.device
    seconds = dynamic_map().to(device)[nf4.maxima.int()]
    maxima = seconds * nf4.scales.repeat_interleave(SECOND_BLOCK)[: len(seconds)] + nf4.offset  # (blocks,)
    values = F.embedding(nf4.codes.int(), _pairs().to(device)).view(-1, BLOCK)  # (blocks, 64)
    return (values * maxima[:, None]).flatten()[: torch.Size(shape).numel()].view(shape).to(dtype)


def _nearest(x: Tensor, codes: Tensor) -> Tensor:
    """Index of the code nearest to each x: the codes are sorted, so it is a search among their midpoints."""
    return torch.bucketize(x, (codes[1:] + codes[:-1]) / 2)


@cache
def _pairs() -> Tensor:
    """(256, 2) what each byte stands for."""
    codes = torch.tensor(CODES)
    return torch.stack([codes.repeat_interleave(16), codes.repeat(16)], dim=1)


class Nf4Linear(Packed):
    """A frozen `Linear` in NF4: made dense for each product, in x's dtype. Gradients go through to x alone."""

    def __init__(self, source: Linear) -> None:
        super().__init__()
        self.shape = source.weight.shape[0], source.weight.shape[1]
        nf4 = quantize_nf4(source.weight)
        self.register_buffer("codes", nf4.codes)
        self.register_buffer("maxima", nf4.maxima)
        self.register_buffer("scales", nf4.scales.view(torch.int32))  # as integers, so that `.to(dtype)` leaves them
        self.register_buffer("offset", nf4.offset.view(torch.int32))
        self.bias: Tensor | None
        self.register_buffer("bias", None if source.bias is None else source.bias.detach())

    @property
    def nf4(self) -> Nf4:
        codes, maxima, scales, offset = (self.get_buffer(name) for name in ("codes", "maxima", "scales", "offset"))
        return Nf4(codes, maxima, scales.view(torch.float32), offset.view(torch.float32))

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """(out, in)"""
        return dequantize_nf4(self.nf4, self.shape, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, in) -> (N, out)."""
        found: Tensor = _FrozenProduct.apply(x, self)  # type: ignore[no-untyped-call]
        return found


class _FrozenProduct(torch.autograd.Function):
    """x W^T + b that keeps the bytes for the backward pass, not the dense W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.dense(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.dense(gradients[0].dtype), None
