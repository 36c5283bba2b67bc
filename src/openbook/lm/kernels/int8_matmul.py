# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""y = x W^T + b with bytes for any number of rows, on all cores: one order of the weights serves one row and a thousand.

The sums are whole numbers and every row is finished by the same instructions, so a row's result is the same to the bit
whatever rows stand beside it. Layout and formula: see `int8_linear`, which does the same inside one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.int8_linear import COLUMNS, ROWS
from openbook.lm.kernels.rows import INLINE, quantize_row
from openbook.lm.kernels.vector import dot_tile

_many = dot_tile(ROWS, COLUMNS // 16)
_one = dot_tile(1, COLUMNS // 16)
_PARALLEL: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "parallel": True,
    "error_model": "numpy",
    "boundscheck": False,
}


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _finish(sums, step, low, scales, offsets, biases, target):
    """target = sums * (step * scales) + (low * offsets + biases); no `fastmath`, so that it is rounded one way everywhere."""
    for j in range(COLUMNS):
        target[j] = np.float32(sums[j]) * (step * scales[j]) + (low * offsets[j] + biases[j])


@njit(**INLINE)
def _quantize(row, n, out):
    return quantize_row(row, n, out)


@njit(**_PARALLEL)
def quantize_rows(x, out, steps, lows):
    """x: (M, k) float32 -> out: (M, >= k) u8 with a step and a least value a row, each from its row alone."""
    for row in prange(x.shape[0]):
        steps[row], lows[row] = _quantize(x[row], x.shape[1], out[row])


@njit(**_PARALLEL)
def int8_matmul(x, steps, lows, weight, scale, offset, bias, out):
    """out[:, :n] = x W^T + b. x: (M, k) u8, k a multiple of 4; weight: s8 panels of n outputs, a multiple of 64; out: (M, n)."""
    M, k = x.shape
    n = scale.shape[0]
    whole = M // ROWS * ROWS
    weight_at, x_at, stride = weight.ctypes.data, x.ctypes.data, x.strides[0]
    for block in prange(n // COLUMNS):
        column = block * COLUMNS
        sums = np.empty((ROWS, COLUMNS), np.int32)
        sums_at = sums.ctypes.data
        scales, offsets = scale[column : column + COLUMNS], offset[column : column + COLUMNS]
        biases = bias[column : column + COLUMNS]
        for row in range(0, whole, ROWS):
            _many(weight_at + column * k, 16 * k, x_at + row * stride, stride, k // 4, sums_at, 4 * COLUMNS)
            for r in range(ROWS):
                target = out[row + r, column : column + COLUMNS]
                _finish(sums[r], steps[row + r], lows[row + r], scales, offsets, biases, target)
        for row in range(whole, M):
            _one(weight_at + column * k, 16 * k, x_at + row * stride, stride, k // 4, sums_at, 4 * COLUMNS)
            _finish(sums[0], steps[row], lows[row], scales, offsets, biases, out[row, column : column + COLUMNS])
