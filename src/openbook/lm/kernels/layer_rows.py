# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""What a layer of a decoder does with each row by itself: norms, products, the gate. On all threads, where rows are enough.

For `decoder_step`, which calls them in turn. A row's numbers depend on that row alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.block_products import Product
from openbook.lm.kernels.int8_linear import COLUMNS
from openbook.lm.kernels.rows import INLINE, exp

PART: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
PARALLEL: dict[str, Any] = {**PART, "parallel": True}
CHUNK = 48  # rows of the gated part that stay in the first cache
FEW = 3  # below it rows are not worth a second thread
_f = np.float32


@njit(**INLINE)
def normalise(row, weight, eps, out):
    """out = row / sqrt(mean(row^2) + eps) * weight"""
    n = len(weight)
    square = _f(0.0)
    for j in range(n):
        square += row[j] * row[j]
    scale = _f(1.0) / np.sqrt(square / _f(n) + eps)
    for j in range(n):
        out[j] = row[j] * scale * weight[j]


@njit(**INLINE)
def _silu(x):
    part = exp(-abs(x))
    return x / (_f(1.0) + part) * (_f(1.0) if x >= _f(0.0) else part)


@njit(**INLINE)
def _gate(gates, ups):
    """gates = silu(gates) ups: all rows as one, since a loop over 64 numbers is over before it is at its speed."""
    for j in range(len(gates)):
        gates[j] = _silu(gates[j]) * ups[j]


class Rows(NamedTuple):
    """Parts of a layer that go through all rows, on all threads where there are enough."""

    normed: Any
    prepared: Any
    multiplied: Any
    added: Any
    gated: Any


def make_rows(product: Product) -> Rows:
    prepare, multiply, add = product

    @njit(**PART)
    def normed_row(row, x, weight, eps, work, ready):
        normalise(x[row], weight, eps, work[row])
        prepare(work[row], len(weight), ready, row)

    @njit(**PARALLEL)
    def normed(x, weight, eps, work, ready):
        """x: (N, E) -> each row, normalised, ready to be multiplied."""
        if len(x) < FEW:
            for row in range(len(x)):
                normed_row(row, x, weight, eps, work, ready)
        else:
            for row in prange(len(x)):
                normed_row(row, x, weight, eps, work, ready)

    @njit(**PARALLEL)
    def prepared(source, N, n, ready):
        """source: (>= N, >= n) -> `n` numbers of each row, ready to be multiplied."""
        if N < FEW:
            for row in range(N):
                prepare(source[row], n, ready, row)
        else:
            for row in prange(N):
                prepare(source[row], n, ready, row)

    @njit(**PARALLEL)
    def multiplied(at, sides, k, ready, N, out):
        """out: (>= N, n) float32 = x W^T + b. at: (2,) addresses of W, sides: (3, n)."""
        out_at, stride = out.ctypes.data, out.strides[0]
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            multiply(at, sides, column, k, ready, 0, N, out_at + 4 * column, stride)

    @njit(**PARALLEL)
    def added(at, sides, k, ready, N, out):
        """out += x W^T + b"""
        out_at, stride = out.ctypes.data, out.strides[0]
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            add(at, sides, column, k, ready, 0, N, out_at + 4 * column, stride)

    @njit(**PARALLEL)
    def gated(at, sides, k, ready, N, inner, out):
        """out: (>= N, inner) = silu(gate) up; the gates are the first `inner` outputs. Both stay in the first cache."""
        for block in prange(inner // COLUMNS):
            column = block * COLUMNS
            gates, ups = np.empty(CHUNK * COLUMNS, np.float32), np.empty(CHUNK * COLUMNS, np.float32)
            for row in range(0, N, CHUNK):
                rows = min(CHUNK, N - row)
                multiply(at, sides, column, k, ready, row, rows, gates.ctypes.data, 4 * COLUMNS)
                multiply(at, sides, inner + column, k, ready, row, rows, ups.ctypes.data, 4 * COLUMNS)
                _gate(gates[: rows * COLUMNS], ups[: rows * COLUMNS])
                for r in range(rows):
                    out[row + r, column : column + COLUMNS] = gates[r * COLUMNS : (r + 1) * COLUMNS]

    return Rows(normed, prepared, multiplied, added, gated)
