"""Weights in bfloat16, in the order of our own kernels: for decoders, whose layers then run in one call.

`onednn.PackedLinear` holds the same numbers in an order that only oneDNN reads.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.kernels.cpu import cpu_features, why_not_int8
from openbook.lm.nn.linear import Linear, Packed

_COLUMNS = 64


def why_not_bfloat16() -> str:
    """What the kernels lack on this machine, in words; empty when they run."""
    if why_not_int8():
        return why_not_int8()
    return "" if "avx512bf16" in cpu_features() else "needs a processor with avx512bf16"


class Bfloat16Linear(Packed):
    """`source` with weights and activations in bfloat16, sums and bias in float32. Its input width must be even."""

    def __init__(self, source: Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = source.weight.shape
        bits = source.weight.detach().bfloat16().view(torch.uint16).numpy()
        rows = -self.out_features % _COLUMNS
        padded = np.pad(bits, ((0, rows), (0, 0)))
        pairs = padded.view(np.uint32).reshape(-1, 16, self.in_features // 2)  # of two numbers, which stay together
        panels = np.ascontiguousarray(pairs.transpose(0, 2, 1))
        self.packed: NDArray[np.uint16] = panels.view(np.uint16).reshape(*panels.shape, 2)  # (n / 16, k / 2, 16, 2)
        bias = np.zeros(self.out_features, np.float32) if source.bias is None else source.bias.detach().float().numpy()
        self.bias = np.pad(bias, (0, rows))

    @property
    def size_bytes(self) -> int:
        return self.packed.nbytes + self.bias.nbytes

    def dequantized(self) -> Tensor:
        """(out, in) float32."""
        plain = self.packed.transpose(0, 2, 1, 3).reshape(-1, self.in_features)[: self.out_features]
        return torch.from_numpy(plain.copy()).view(torch.bfloat16).float()

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) -> (..., out), of the dtype of x."""
        from openbook.lm.kernels.bfloat16_matmul import bfloat16_matmul

        rows = x.detach().reshape(-1, self.in_features).bfloat16().contiguous()
        out = torch.empty(len(rows), len(self.bias))
        address = np.array([self.packed.ctypes.data, 0], np.int64)
        bfloat16_matmul(rows.view(torch.uint16).numpy(), address, self.bias[None], out.numpy())
        return out[:, : self.out_features].to(x.dtype).view(*x.shape[:-1], self.out_features)
