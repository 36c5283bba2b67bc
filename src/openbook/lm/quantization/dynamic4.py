"""Half bytes times bytes: the weights of an `Int4Linear` in the order of the kernel, activations quantized as they come.

As in `dynamic`, a row's bytes depend on that row alone. Eight bits of the activations cost a tenth of what four bits of the
weights have cost (0.7 % against 8.6 % of the norm of normal numbers).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.linear import Packed
from openbook.lm.quantization.dynamic import quantize_rows
from openbook.lm.quantization.int8 import Floats
from openbook.lm.quantization.integers import Int4Linear

_COLUMNS = 64
_SIGNED = np.uint8(0x80)
"""This bit of a code in the high half is turned, so that the byte as a number has 16 (code - 8) in it."""


class DynamicInt4Linear(Packed):
    """`source` with 8-bit activations, by the packed kernel: for processors with VNNI (`kernels.cpu.why_not_int8`)."""

    def __init__(self, source: Int4Linear) -> None:
        super().__init__()
        self.out_features, self.groups = source.step.shape
        self.group_size, self.in_features = source.group_size, source.in_features
        self.weight = _packed(source)
        halves = source.step.view(torch.uint16).numpy()
        self.steps = _tiled(halves)  # (n / 64, G, 64) uint16
        plain = np.full((1, 1, _COLUMNS), 8, np.uint8)
        self.zeros = plain if source.zero is None else _tiled(source.zero.numpy())
        rows = len(self.weight) * _COLUMNS - self.out_features
        self.offset = _padded(source.dequantized().sum(dim=1, dtype=torch.float64).float().numpy(), rows)
        bias = torch.zeros(self.out_features) if source.bias is None else source.bias.detach().float()
        self.bias = _padded(bias.numpy(), rows)

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for part in (self.weight, self.steps, self.zeros, self.offset, self.bias))

    def codes(self) -> Tensor:
        """(out, in') uint8 in 0..15, taken out of the packed order."""
        low_high = np.concatenate([self.weight & 15, (self.weight ^ _SIGNED) >> 4], axis=2)
        tiles = low_high.reshape(len(self.weight), self.groups, 4, self.group_size // 4, 16, 4)
        rows = tiles.transpose(0, 2, 4, 1, 3, 5).reshape(len(self.weight) * _COLUMNS, -1)
        return torch.from_numpy(rows[: self.out_features].copy())

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        shape = (self.out_features, self.groups, 1)
        step, zero = (
            torch.from_numpy(_untiled(part)[: self.out_features].copy()) for part in (self._steps(), self._zeros())
        )
        codes = self.codes().view(self.out_features, self.groups, self.group_size).float()
        return ((codes - zero.view(shape)) * step.view(shape)).flatten(1)[:, : self.in_features]

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        from openbook.lm.kernels.int4_matmul import group_totals, int4_matmul
        from openbook.lm.kernels.int8_matmul import quantize_rows as quantize

        rows = x.detach().float().reshape(-1, self.in_features).contiguous()
        M = len(rows)
        q = np.zeros((M, self.groups * self.group_size), np.uint8)
        steps, lows = np.empty(M, np.float32), np.empty(M, np.float32)
        quantize(rows.numpy(), q, steps, lows)
        totals = np.empty((M, self.groups), np.float32)
        group_totals(q, self.group_size, totals)
        out = torch.empty(M, len(self.offset))
        packed = (self.weight, self.steps, self.zeros, self.offset, self.bias)
        int4_matmul(q, steps, lows, totals, *packed, out.numpy())
        return out[:, : self.out_features].reshape(*x.shape[:-1], self.out_features).to(x.dtype)

    def plain(self, x: Tensor) -> Tensor:
        """x: (M, in) float32 -> (M, out): the reference of the kernel, with the activations that its bytes stand for."""
        q = quantize_rows(x)
        bias = torch.from_numpy(self.bias)[: self.out_features]
        return (q.low + q.step * q.bytes) @ self.dequantized().t() + bias

    def _steps(self) -> Floats:
        return self.steps.view(np.float16).astype(np.float32)

    def _zeros(self) -> Floats:
        return np.broadcast_to(self.zeros, self.steps.shape).astype(np.float32)


def _packed(source: Int4Linear) -> NDArray[np.uint8]:
    """(n / 64, G, group * 32): see `kernels.int4_matmul`."""
    n, groups = source.step.shape
    pairs = source.weight.numpy()
    codes = np.stack([pairs & 15, pairs >> 4], axis=2).reshape(n, -1)
    codes = np.pad(codes, ((0, -n % _COLUMNS), (0, 0)))
    tiles = codes.reshape(-1, 4, 16, groups, source.group_size // 4, 4).transpose(0, 3, 1, 4, 2, 5)
    flat = tiles.reshape(len(tiles), groups, -1)
    half = flat.shape[2] // 2
    return np.ascontiguousarray(flat[..., :half] | (flat[..., half:] << 4 ^ _SIGNED))


def _tiled(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """(n, G) -> (n / 64, G, 64), n padded with zeros."""
    padded = np.pad(values, ((0, -len(values) % _COLUMNS), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, _COLUMNS, values.shape[1]).transpose(0, 2, 1))


def _untiled(tiles: Floats) -> Floats:
    """(n / 64, G, 64) -> (n, G)."""
    return tiles.transpose(0, 2, 1).reshape(-1, tiles.shape[1])


def _padded(values: Floats, rows: int) -> Floats:
    return np.pad(values, (0, rows))
