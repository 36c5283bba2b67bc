# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""softmax over what is not ahead, in place and in one pass, on the bits of bfloat16; the reference is masking and softmax."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.decoder_rows import _PARALLEL, narrowed, widened
from openbook.lm.kernels.rows import exp
from openbook.lm.kernels.vector import larger

_f = np.float32


@njit(**_PARALLEL)
def causal_softmax(scores):
    """scores: (R, T, T) uint16 -> row t is the softmax of its first t + 1, and 0 after them."""
    R, T, _ = scores.shape
    for r in prange(R):
        row = np.empty(T, np.float32)
        for t in range(T):
            bits = scores[r, t]
            high = widened(bits[0])
            for j in range(t + 1):
                row[j] = widened(bits[j])
                high = larger(high, row[j])
            total = _f(0.0)
            for j in range(t + 1):
                value = exp(row[j] - high)
                row[j] = value
                total += value
            inverse = _f(1.0) / total
            for j in range(t + 1):
                bits[j] = narrowed(row[j] * inverse)
            for j in range(t + 1, T):
                bits[j] = np.uint16(0)
