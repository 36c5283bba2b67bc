"""Low-rank changes of a linear layer: LoRA, rsLoRA (another scale) and DoRA (a learned length for every row)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.adapters.packed_base import PackedBase
from openbook.lm.adapters.slot import Change
from openbook.lm.nn.linear import Linear
from openbook.lm.quantization.nf4 import Nf4Linear


class Lora(Change):
    """y + s B A dropout(x), in float32; with `magnitude` (out,), DoRA.

    A starts uniform in +-1 / sqrt(in), B at zero: the output of step 0 is the base's. Source: Hu et al. 2021,
    https://arxiv.org/abs/2106.09685, equation 3.
    """

    def __init__(self, base: nn.Module, r: int, scale: float, dropout: float = 0.0, *, is_dora: bool = False) -> None:
        super().__init__()
        (rows, columns), device = _shape(base)
        self.scale, self.dropout = scale, dropout
        self.a = nn.Parameter(torch.zeros(r, columns, device=device))
        self.b = nn.Parameter(torch.zeros(rows, r, device=device))
        lengths = torch.linalg.vector_norm(dense_weight(base).float(), dim=1) if is_dora else None
        self.magnitude = None if lengths is None else nn.Parameter(lengths)
        self._fixed_lengths: Tensor | None = None

    def initialise(self, generator: torch.Generator) -> None:
        """Draws A."""
        bound = 1 / math.sqrt(self.a.shape[1])
        with torch.no_grad():
            self.a.copy_(torch.empty(self.a.shape).uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor, y: Tensor, base: nn.Module) -> Tensor:
        """x: (N, in), y: (N, out) -> (N, out), of y's dtype."""
        is_dropped = self.training and self.dropout > 0
        x = F.dropout(x, self.dropout) if is_dropped else x
        low = F.linear(F.linear(x.to(self.a.dtype), self.a), self.b) * self.scale  # (N, out)
        if self.magnitude is None:
            return y + low.to(y.dtype)
        plain = (F.linear(x, dense_weight(base).to(x.dtype)) if is_dropped else _without_bias(y, base)).to(low.dtype)
        ratio = self.magnitude / self._lengths(base)  # (out,)
        return y + ((ratio - 1) * plain + ratio * low).to(y.dtype)

    def _lengths(self, base: nn.Module) -> Tensor:
        """(out,) ||W + s B A|| of each row, a constant to the gradient. Source: DoRA, section 4.3."""
        if self._fixed_lengths is not None:
            return self._fixed_lengths
        with torch.no_grad():
            lengths: Tensor = torch.linalg.vector_norm(dense_weight(base).float() + self.delta(), dim=1)
            return lengths

    def fix(self, base: nn.Module) -> None:
        """For inference, when it is loaded: the lengths of DoRA are not taken again at every call."""
        if self.magnitude is not None:
            self._fixed_lengths = self._lengths(base)

    def delta(self) -> Tensor:
        """s B A, (out, in)."""
        return self.scale * (self.b @ self.a)

    @torch.no_grad()
    def merged(self, base: nn.Module) -> Tensor:
        """The weight (out, in), float32, with which the base alone gives what base and adapter give."""
        weight = dense_weight(base).float() + self.delta()
        return weight if self.magnitude is None else weight * (self.magnitude / self._lengths(base))[:, None]


def _shape(base: nn.Module) -> tuple[tuple[int, int], torch.device]:
    """Rows, columns, and where they are."""
    if isinstance(base, PackedBase):
        return base.shape, base.device
    weight = dense_weight(base)
    return (weight.shape[0], weight.shape[1]), weight.device


def dense_weight(base: nn.Module) -> Tensor:
    """(out, in) as numbers that can be calculated with."""
    if isinstance(base, Nf4Linear | PackedBase):
        return base.dequantized()
    assert isinstance(base, Linear)
    return base.weight.detach()


def _without_bias(y: Tensor, base: nn.Module) -> Tensor:
    assert isinstance(base, Linear | Nf4Linear | PackedBase)
    return y if base.bias is None else y - base.bias
