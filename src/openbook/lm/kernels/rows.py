# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""Kernels over rows of float32: exponential, GELU, layer norm with residual, quantisation to bytes.

Each is a plain loop that LLVM vectorises; its reference is the formula in its docstring (see the tests).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from openbook.lm.kernels.vector import float_of_bits, larger, round_even, smaller

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "boundscheck": False}
INLINE: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy", "boundscheck": False}

_f = np.float32
_LOG2_E = _f(1.4426950408889634)
_LOWEST = _f(-126.0)
_LOWEST_X = _f(-126.0 * 0.6931471805599453)
_ONE, _HALF, _ZERO = _f(1.0), _f(0.5), _f(0.0)
# 2^f on [-1/2, 1/2], minimax of degree 5: relative error 2.4e-7.
_C1, _C2, _C3, _C4, _C5 = _f(0.6931472), _f(0.24022348), _f(0.05550357), _f(0.009666374), _f(0.0013390867)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.12194440e-4)  # ln 2 = high + low, and n * high is exact
_SQRT_HALF = _f(0.7071067811865476)
# erf: Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
_P, _A1, _A2 = _f(0.3275911), _f(0.254829592), _f(-0.284496736)
_A3, _A4, _A5 = _f(1.421413741), _f(-1.453152027), _f(1.061405429)
_STEPS = _f(255.0)
_TINY = _f(1e-30)


@njit(**INLINE)
def exp(x):
    """e^x for x <= 0, relative error below 1e-6; 0 is never reached (2^-126 is).

    The whole powers of two are taken from x in two parts, so that the error does not grow with it (W. Cody, W. Waite,
    1980); the rest of degree 5 is fitted to 2^f at Chebyshev's points, not expanded at 0.
    """
    y = larger(x * _LOG2_E, _LOWEST)
    whole = round_even(y)
    f = (larger(x, _LOWEST_X) - whole * _LN2_HIGH - whole * _LN2_LOW) * _LOG2_E
    power = _ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * _C5))))
    return power * float_of_bits((np.int32(whole) + np.int32(127)) << np.int32(23))


@njit(**INLINE)
def gelu_row(row, n):
    """row[:n] = x Phi(x), the exact GELU, absolute error below 1e-6 |x|."""
    for j in range(n):
        x = row[j]
        z = abs(x) * _SQRT_HALF
        t = _ONE / (_ONE + _P * z)
        tail = t * (_A1 + t * (_A2 + t * (_A3 + t * (_A4 + t * _A5)))) * exp(-z * z)  # 1 - erf(z)
        below = _HALF * tail  # Phi(-|x|)
        row[j] = x * (_ONE - below if x > _ZERO else below)


@njit(**INLINE)
def quantize_row(row, n, out):
    """out[:n] = round((x - low) / step) in 0..255, with step = (high - low) / 255; returns (step, low).

    One scale and one offset a row: a text's bytes depend on nothing but itself.
    """
    low, high = row[0], row[0]
    for j in range(n):
        low = smaller(low, row[j])
        high = larger(high, row[j])
    step = max((high - low) / _STEPS, _TINY)
    inverse = _ONE / step
    for j in range(n):
        out[j] = np.uint8(np.int32((row[j] - low) * inverse + _HALF))
    return step, low


@njit(**INLINE)
def sum_groups(codes, group, out):
    """out[g] = the sum of each `group` neighbours of codes (n,) u8, n a multiple of it."""
    for g in range(len(codes) // group):
        own = codes[
            g * group : (g + 1) * group
        ]  # counted from 0: LLVM makes vectors of no loop whose index might be negative
        total = np.int32(0)
        for j in range(group):
            total += np.int32(own[j])
        out[g] = np.float32(total)


@njit(**INLINE)
def add_norm_row(row, added, n, weight, bias, eps):
    """row[:n] = LayerNorm(row + added) * weight + bias, the variance biased and taken about the mean."""
    total = _ZERO
    for j in range(n):
        row[j] += added[j]
        total += row[j]
    mean = total / _f(n)
    square = _ZERO
    for j in range(n):
        gap = row[j] - mean
        square += gap * gap
    scale = _ONE / np.sqrt(square / _f(n) + eps)
    for j in range(n):
        row[j] = (row[j] - mean) * scale * weight[j] + bias[j]


@njit(**INLINE)
def softmax_row(row, n):
    """row[:n] = exp(x - max) / sum."""
    high = row[0]
    for j in range(n):
        high = larger(high, row[j])
    total = _ZERO
    for j in range(n):
        value = exp(row[j] - high)
        row[j] = value
        total += value
    inverse = _ONE / total
    for j in range(n):
        row[j] *= inverse
