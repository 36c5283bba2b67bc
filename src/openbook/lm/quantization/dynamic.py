"""Bytes times bytes: weights with a step an output, activations quantized as they come, with a step and a least value a row.

A row's bytes depend on that row alone, and the sums are whole numbers: a request's tokens do not depend on what is computed
beside it. (A step for the whole tensor, as `torch.ao.quantization.quantize_dynamic` has it, lets one outlier row spoil the
others.)
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.nn.linear import Linear, Packed
from openbook.lm.quantization.int8 import Int8Weights, int8_weights

_COLUMNS = 64
_SEVEN_BITS = 127
_log = logging.getLogger("openbook")


class QuantizedRows(NamedTuple):
    """x ~ low + step q: `bytes` (M, k) u8, `step` and `low` (M, 1) float32."""

    bytes: Tensor
    step: Tensor
    low: Tensor


def quantize_rows(x: Tensor, most: int = 255) -> QuantizedRows:
    """x: (M, k) float32, in 0..`most`; the plain form of `kernels.int8_matmul.quantize_rows`."""
    low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
    step = ((high - low) / most).clamp_min(1e-30)
    return QuantizedRows(((x - low) / step + 0.5).to(torch.int32).clamp(0, most).to(torch.uint8), step, low)


class DynamicInt8Linear(Packed):
    """`source` with 8-bit weights and 8-bit activations; the packed kernel where the processor has VNNI, else oneDNN's.

    `use_onednn`: a second copy of the weights in oneDNN's own order, for batches; it says how many bytes that takes. Its
    sums are rounded to float32 before they are scaled, so that results differ in the last bit. Without VNNI that copy is the
    only one, and activations have 7 bits: AVX2 adds two products in 16 bits, which 8 would overflow.
    """

    def __init__(self, source: Linear, *, use_onednn: bool = False) -> None:
        super().__init__()
        weight = source.weight.detach().float().numpy()
        self.out_features, self.in_features = weight.shape
        bias = np.zeros(self.out_features, np.float32) if source.bias is None else source.bias.detach().float().numpy()
        rows, columns = -self.out_features % _COLUMNS, -self.in_features % 4
        padded = np.pad(weight, ((0, rows), (0, columns)))
        self.packed: Int8Weights = int8_weights(padded, np.pad(bias, (0, rows)))
        self.padded_in = self.in_features + columns
        self.has_kernel = not why_not_int8()
        self._onednn = self._reordered() if use_onednn or not self.has_kernel else None
        if self._onednn is not None and not self.has_kernel:
            self.packed = self.packed._replace(weight=np.empty(0, np.int8))

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for part in self.packed) + (0 if self.has_kernel else self.out_features * self.padded_in)

    def integers(self) -> Tensor:
        """(out, in) int8, taken out of the packed order."""
        if not self.packed.weight.size:
            raise RuntimeError("the weights are held in oneDNN's order alone: this processor has no byte kernels")
        n, k = len(self.packed.scale), self.padded_in
        panels = self.packed.weight.reshape(n // 16, k // 4, 16, 4).transpose(0, 2, 1, 3).reshape(n, k)
        return torch.from_numpy(panels[: self.out_features, : self.in_features].copy())

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        return self.integers().float() * torch.from_numpy(self.packed.scale)[: self.out_features, None]

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        rows = x.detach().float().reshape(-1, self.in_features)
        if self._onednn is not None:
            y = self._by_onednn(rows, *self._onednn)
        else:
            y = self._by_kernel(rows) if self.has_kernel else self.plain(rows)
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)

    def plain(self, x: Tensor) -> Tensor:
        """x: (M, in) float32 -> (M, out): the reference of the kernels, in whole numbers."""
        q = quantize_rows(x)
        sums = (q.bytes.int() @ self.integers().int().t()).float()  # (M, out)
        return self._finished(sums, q)

    def _finished(self, sums: Tensor, q: QuantizedRows) -> Tensor:
        scale, offset, bias = (torch.from_numpy(part)[: self.out_features] for part in self.packed[1:])
        return sums * (q.step * scale) + (q.low * offset + bias)

    def _by_kernel(self, x: Tensor) -> Tensor:
        from openbook.lm.kernels.int8_matmul import int8_matmul, quantize_rows

        M = len(x)
        q = np.zeros((M, self.padded_in), np.uint8)
        steps, lows = np.empty(M, np.float32), np.empty(M, np.float32)
        quantize_rows(x.contiguous().numpy(), q, steps, lows)
        out = torch.empty(M, len(self.packed.scale))
        int8_matmul(q, steps, lows, *self.packed, out.numpy())
        return out[:, : self.out_features]

    def _reordered(self) -> tuple[Tensor, Tensor, Tensor] | None:
        try:
            packed = torch.ops.onednn.qlinear_prepack(self.integers(), None)
        except (RuntimeError, AttributeError) as error:
            _log.warning("oneDNN has no quantized product here (%s): the packed kernel is used", type(error).__name__)
            return None
        _log.info(
            "oneDNN's copy of %d x %d weights: %d bytes",
            self.out_features,
            self.in_features,
            self.out_features * self.in_features,
        )
        ones = torch.ones(self.out_features)
        return packed, ones, torch.zeros(self.out_features, dtype=torch.long)

    def _by_onednn(self, x: Tensor, packed: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
        q = quantize_rows(x) if self.has_kernel else quantize_rows(x, _SEVEN_BITS)
        product = torch.ops.onednn.qlinear_pointwise
        sums = product(q.bytes, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], "")
        return self._finished(sums, q)
