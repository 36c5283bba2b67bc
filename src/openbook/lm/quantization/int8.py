"""Weights as signed bytes with one step per output, and their order in memory for the 512-bit kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Int8Weights(NamedTuple):
    """`weight` s8 flat in panels; `scale`, `offset` (= scale * sum over k of the bytes), `bias`: (n,) float32."""

    weight: NDArray[np.int8]
    scale: Floats
    offset: Floats
    bias: Floats


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """((n, k) bytes in -127..127, (n,) steps): weight ~ bytes * step. A row of zeros gets step 1e-12."""
    step = np.maximum(np.abs(weight).max(axis=1) / 127, 1e-12).astype(np.float32)
    return np.rint(weight / step[:, None]).astype(np.int8), step


def pack(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """(n, k) -> flat [n / 16][k / 4][16][4]: the four bytes of one step of 16 outputs lie together. n % 16 = k % 4 = 0."""
    n, k = weight.shape
    fours = np.ascontiguousarray(weight).view(np.uint32).reshape(n // 16, 16, k // 4)
    return np.ascontiguousarray(fours.transpose(0, 2, 1)).view(np.int8).reshape(-1)


def int8_weights(weight: Floats, bias: Floats) -> Int8Weights:
    """A linear layer's (n, k) weights and (n,) bias for `kernels.int8_linear`."""
    quantized, step = quantize_weight(weight)
    offset = step * quantized.sum(axis=1, dtype=np.int64)
    return Int8Weights(pack(quantized), step, offset.astype(np.float32), bias.astype(np.float32))


def stack(layers: list[Int8Weights]) -> Int8Weights:
    """The layers of a model as one array each, layer first."""
    return Int8Weights(*(np.stack(parts) for parts in zip(*layers, strict=True)))
