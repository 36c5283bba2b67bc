# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""What a decoder does between its products, each in one pass over memory: RMS norm and rotary turning, float32 and bfloat16.

bfloat16 comes as its bits (uint16): they are the upper half of a float32. Every result is rounded where `lm.nn` rounds, to the
nearest even, so that the plain layers are the reference (see the tests). Formulas: `nn.norm.RmsNorm` and `nn.rope.rotate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from openbook.lm.kernels.rows import INLINE
from openbook.lm.kernels.vector import float_of_bits

_PARALLEL: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "parallel": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"reassoc", "contract", "nsz"},  # sums in any order; no promise about NaN is broken
}
_f = np.float32


@intrinsic
def bits_of_float(typing_context, x):
    """The bits of a float32, as a signed number."""

    def codegen(context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@njit(**INLINE)
def widened(bits):
    """The float32 of a bfloat16's bits."""
    return float_of_bits(np.int32(np.uint32(bits) << np.uint32(16)))


@njit(**INLINE)
def narrowed(x):
    """The bits of the nearest bfloat16, ties to even."""
    bits = np.uint32(bits_of_float(x))
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@njit(**_PARALLEL)
def rms_norm_float32(x, weight, eps, out):
    """out = x / sqrt(mean(x^2) + eps) * weight. x, out: (N, E) float32, weight: (E,)."""
    N, E = x.shape
    for row in prange(N):
        square = _f(0.0)
        for j in range(E):
            square += x[row, j] * x[row, j]
        scale = _f(1.0) / np.sqrt(square / _f(E) + eps)
        for j in range(E):
            out[row, j] = weight[j] * (x[row, j] * scale)


@njit(**_PARALLEL)
def rms_norm_bfloat16(x, weight, eps, out):
    """The same on bits. x, out: (N, E) uint16, weight: (E,) uint16; the quotient is rounded before it is weighted."""
    N, E = x.shape
    for row in prange(N):
        square = _f(0.0)
        for j in range(E):
            value = widened(x[row, j])
            square += value * value
        scale = _f(1.0) / np.sqrt(square / _f(E) + eps)
        for j in range(E):
            quotient = widened(narrowed(widened(x[row, j]) * scale))
            out[row, j] = narrowed(widened(weight[j]) * quotient)


@njit(**INLINE)
def _turn_float32(first, second, cos, sin, half):
    for j in range(half):
        a, b = first[j], second[j]
        first[j] = a * cos[j] - b * sin[j]
        second[j] = b * cos[half + j] + a * sin[half + j]


@njit(**INLINE)
def _turn_bfloat16(first, second, cos, sin, half):
    for j in range(half):
        a, b = widened(first[j]), widened(second[j])
        c1, s1 = widened(cos[j]), widened(sin[j])
        c2, s2 = widened(cos[half + j]), widened(sin[half + j])
        first[j] = narrowed(widened(narrowed(a * c1)) - widened(narrowed(b * s1)))
        second[j] = narrowed(widened(narrowed(b * c2)) + widened(narrowed(a * s2)))


@njit(**_PARALLEL)
def rotate_float32(x, cos, sin, heads):
    """Turns the first `heads` heads of x (N, >= heads D) in place: pairs (i, i + D/2) by the angles of cos, sin (N, D)."""
    D = cos.shape[1]
    half = D // 2
    for row in prange(x.shape[0]):
        for at in range(0, heads * D, D):
            _turn_float32(x[row, at : at + half], x[row, at + half : at + D], cos[row], sin[row], half)


@njit(**_PARALLEL)
def rotate_bfloat16(x, cos, sin, heads):
    """The same on bits, with the products rounded before they are added."""
    D = cos.shape[1]
    half = D // 2
    for row in prange(x.shape[0]):
        for at in range(0, heads * D, D):
            _turn_bfloat16(x[row, at : at + half], x[row, at + half : at + D], cos[row], sin[row], half)
