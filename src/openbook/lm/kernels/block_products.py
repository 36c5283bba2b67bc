# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""64 outputs of a linear layer for a few rows, by kind of weight: what a thread computes before it does something with them.

Layouts and formulas: see `int8_linear` and `int4_matmul`. Every row goes through the same instructions in the same order,
whatever rows stand beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from openbook.lm.kernels.decoder_rows import narrowed
from openbook.lm.kernels.group_tile import group_tile
from openbook.lm.kernels.int8_linear import COLUMNS
from openbook.lm.kernels.product_tile import bfloat16_tile, product_tile
from openbook.lm.kernels.rows import quantize_row, sum_groups
from openbook.lm.kernels.vector import by_height

_LOW = 3  # rows x 4 panels, once as integers and once as floats
_HEIGHT = 6  # 6 rows x 4 panels are 24 of the 32 vector registers
_EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


class Product(NamedTuple):
    """`prepare(source, n, ready, row)`: a row made ready, into row `row` of `ready`.

    `multiply(weights, sides, column, k, ready, row, rows, out, out_stride)`: outputs [column, column + 64) of `rows` rows from
    `row` on, to the address `out`; `add`: added to what is there. weights: (2,) addresses; sides: (3, n) float32. ready: (q,
    steps, lows, totals, group), q (N, >= k) u8 or, for bfloat16, its bits, steps and lows (N,), totals (N, >= groups) float32.
    """

    prepare: Any
    multiply: Any
    add: Any


@njit(**_EXACT)
def _prepare8(source, n, ready, row):
    q, steps, lows, _, _ = ready
    steps[row], lows[row] = quantize_row(source, n, q[row])


@njit(**_EXACT)
def _prepare4(source, n, ready, row):
    q, steps, lows, totals, group = ready
    own = q[row]
    steps[row], lows[row] = quantize_row(source, n, own)
    whole = (n + group - 1) // group
    own[n : whole * group] = np.uint8(0)
    sum_groups(own[: whole * group], group, totals[row])


def _int8(adds: bool) -> Any:
    whole = product_tile(_HEIGHT, 1, adds)
    rest = by_height([product_tile(rows, 0, adds) for rows in range(1, _HEIGHT)])

    @njit(**_EXACT)
    def multiply(weights, sides, column, k, ready, row, rows, out, out_stride):
        """sides: scale, offset, bias. k a multiple of 4."""
        q, steps, lows, _, _ = ready
        at, panel = weights[0] + column * k, 16 * k
        stride = q.strides[0]
        x = q.ctypes.data + row * stride
        scales = sides.ctypes.data + 4 * column
        offsets, biases = scales + sides.strides[0], scales + 2 * sides.strides[0]
        step, low = steps.ctypes.data + 4 * row, lows.ctypes.data + 4 * row
        for first in range(0, rows - _HEIGHT + 1, _HEIGHT):
            ahead = at + (4 + min(first // _HEIGHT, 3)) * panel  # each asks for one panel of the next outputs
            whole(at, panel, x, stride, k // 4, ahead, step, low, scales, offsets, biases, out, out_stride)
            x, out = x + _HEIGHT * stride, out + _HEIGHT * out_stride
            step, low = step + 4 * _HEIGHT, low + 4 * _HEIGHT
        left = rows % _HEIGHT
        rest(left, at, panel, x, stride, k // 4, at, step, low, scales, offsets, biases, out, out_stride)

    return multiply


def _int4(adds: bool) -> Any:
    tile = by_height([group_tile(rows, adds) for rows in range(1, _LOW + 1)])

    @njit(**_EXACT)
    def multiply(weights, sides, column, k, ready, row, rows, out, out_stride):
        """sides: nothing, offset, bias. weights: codes (n / 64, G, group * 32) u8, steps (n / 64, G, 64) halves."""
        q, steps, lows, totals, group = ready
        groups = (k + group - 1) // group
        codes = weights[0] + column // COLUMNS * groups * group * 32
        halves = weights[1] + column // COLUMNS * groups * 128
        stride, total_stride = q.strides[0], totals.strides[0]
        x, total = q.ctypes.data + row * stride, totals.ctypes.data + row * total_stride
        offsets = sides.ctypes.data + sides.strides[0] + 4 * column
        biases = offsets + sides.strides[0]
        step, low = steps.ctypes.data + 4 * row, lows.ctypes.data + 4 * row
        for first in range(0, rows, _LOW):
            tile(min(_LOW, rows - first), codes, halves, groups, group, x, stride, total, total_stride, step, low, offsets,
                 biases, out, out_stride)  # fmt: skip
            x, out, total = x + _LOW * stride, out + _LOW * out_stride, total + _LOW * total_stride
            step, low = step + 4 * _LOW, low + 4 * _LOW

    return multiply


@njit(**_EXACT)
def _prepare16(source, n, ready, row):
    own = ready[0][row]
    for j in range(n):
        own[j] = narrowed(source[j])


def _bfloat16(adds: bool) -> Any:
    whole = bfloat16_tile(_HEIGHT, 1, adds)
    rest = by_height([bfloat16_tile(rows, 0, adds) for rows in range(1, _HEIGHT)])

    @njit(**_EXACT)
    def multiply(weights, sides, column, k, ready, row, rows, out, out_stride):
        """sides: bias alone. weights: bits in panels [n / 16][k / 2][16][2]; k even."""
        q = ready[0]
        at, panel = weights[0] + 2 * column * k, 32 * k
        stride = q.strides[0]
        x = q.ctypes.data + row * stride
        biases = sides.ctypes.data + 4 * column
        for first in range(0, rows - _HEIGHT + 1, _HEIGHT):
            ahead = at + (4 + min(first // _HEIGHT, 3)) * panel
            whole(at, panel, x, stride, k // 2, ahead, biases, out, out_stride)
            x, out = x + _HEIGHT * stride, out + _HEIGHT * out_stride
        rest(rows % _HEIGHT, at, panel, x, stride, k // 2, at, biases, out, out_stride)

    return multiply


INT8 = Product(_prepare8, _int8(adds=False), _int8(adds=True))
INT4 = Product(_prepare4, _int4(adds=False), _int4(adds=True))
BFLOAT16 = Product(_prepare16, _bfloat16(adds=False), _bfloat16(adds=True))
