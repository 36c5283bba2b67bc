"""An affine map: y = x W^T + b."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Module):
    """`weight` (out, in), `bias` (out,) or None. `lm.quantization.prepare` replaces it by a packed one."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out)."""
        return F.linear(x, self.weight, self.bias)


class Packed(nn.Module):
    """A module that stands in place of a `Linear` (or of several) with weights in another form: no checkpoint holds it."""

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """other + self(x); in one pass where the product can end with a sum."""
        return other + self(x)  # type: ignore[no-any-return]


def plus(layer: nn.Module, x: Tensor, other: Tensor) -> Tensor:
    """other + layer(x): the end of a residual branch."""
    return layer.plus(x, other) if isinstance(layer, Packed) else other + layer(x)


def rounded(x: Tensor) -> Tensor:
    """`x` as a product under autocast reads it: rounded once for all products that read it, and kept once for
    the backward pass."""
    kind = x.device.type
    is_wider = x.dtype is torch.float32 and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if is_wider else x
