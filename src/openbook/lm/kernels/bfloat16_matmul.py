# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""y = x W^T + b in bfloat16 with sums in float32, for any number of rows, on all cores. Reference: `F.linear`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.block_products import BFLOAT16
from openbook.lm.kernels.int8_linear import COLUMNS

_multiply = BFLOAT16.multiply


@njit(cache=True, nogil=True, parallel=True, error_model="numpy", boundscheck=False)
def bfloat16_matmul(x, weights, sides, out):
    """x: (M, k) bits; weights: (address of the panels, 0); sides: (1, n) the bias; out: (M, n) float32, n whole 64."""
    none = np.empty((1, 1), np.float32)
    ready = (x, none[0], none[0], none, 0)
    address, stride = out.ctypes.data, out.strides[0]
    for block in prange(sides.shape[1] // COLUMNS):
        column = block * COLUMNS
        _multiply(weights, sides, column, x.shape[1], ready, 0, x.shape[0], address + 4 * column, stride)
