# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""y = x W^T + b with bytes: activations u8 with a step and an offset per row, weights s8 with a step per output.

x ~ low_r + step_r q and W ~ s_n w give y = step_r s_n (q . w) + low_r (s_n sum_k w) + b, the sum in exact integers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from openbook.lm.kernels.rows import INLINE
from openbook.lm.kernels.vector import dot_tile

ROWS = 6  # rows x 4 panels are 24 of the 32 vector registers
COLUMNS = 64
_tile = dot_tile(ROWS, 4)


@njit(**INLINE)
def int8_linear(x, steps, lows, weight, scale, offset, bias, out, rows, n, k):
    """out[:rows, :n] = x W^T + b. `rows` a multiple of ROWS, n of COLUMNS, k of 4.

    x: (rows, >= k) u8, steps and lows: (rows,). weight: s8 in panels [n / 16][k / 4][16][4], flat; scale, offset
    (= scale * sum of the row), bias: (n,).
    """
    sums = np.empty((ROWS, COLUMNS), np.int32)
    sums_at, weight_at, x_at, stride = sums.ctypes.data, weight.ctypes.data, x.ctypes.data, x.strides[0]
    for column in range(0, n, COLUMNS):
        scales = scale[column : column + COLUMNS]
        offsets = offset[column : column + COLUMNS]
        biases = bias[column : column + COLUMNS]
        for row in range(0, rows, ROWS):
            _tile(weight_at + column * k, 16 * k, x_at + row * stride, stride, k // 4, sums_at, 4 * COLUMNS)
            for r in range(ROWS):
                step, low = steps[row + r], lows[row + r]
                target = out[row + r, column : column + COLUMNS]
                source = sums[r]
                for j in range(COLUMNS):
                    target[j] = np.float32(source[j]) * (step * scales[j]) + (low * offsets[j] + biases[j])
