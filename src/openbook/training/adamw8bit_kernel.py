# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""A step of AdamW over moments of a byte, in one pass over memory: blocks beside each other. Reference: `adamw8bit._adamw`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BLOCK = 256
_f = np.float32
_TINY = np.finfo(np.float32).tiny


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _place(middles, share):
    """How many of the 255 middles are below `share`."""
    place = np.int32(0)
    for power in range(7, -1, -1):  # without branches, which could not be foretold
        step = np.int32(1) << np.int32(power)
        place += step * np.int32(middles[place + step - 1] < share)
    return place


@njit(cache=True, nogil=True, parallel=True, error_model="numpy", boundscheck=False)
def step_blocks(weight, grad, first, second, first_scales, second_scales, tables, middles, numbers):
    """In place. weight, grad: (n,) float32. first, second: (n,) uint8, with a scale for each `BLOCK`. tables (2, 256) and
    middles (2, 255): those of the first moment, of the second. numbers: what weights keep, the shares of the gradient in both
    moments, what the second is divided by, eps, the rate.
    """
    keep, toward, beyond, long, eps, rate = numbers
    for block in prange(len(first_scales)):
        begin = block * BLOCK
        end = min(begin + BLOCK, len(weight))
        new_first = np.empty(BLOCK, np.float32)
        new_second = np.empty(BLOCK, np.float32)
        scale_first, scale_second = first_scales[block], second_scales[block]
        most_first, most_second = _f(0.0), _f(0.0)
        for at in range(begin, end):
            g = grad[at]
            m = tables[0, first[at]] * scale_first
            m += toward * (g - m)
            v = tables[1, second[at]] * scale_second
            v += beyond * (g * g - v)
            weight[at] = weight[at] * keep - rate * m / (np.sqrt(v) * long + eps)
            new_first[at - begin], new_second[at - begin] = m, v
            most_first, most_second = max(most_first, abs(m)), max(most_second, v)
        first_scales[block], second_scales[block] = most_first, most_second
        most_first, most_second = max(most_first, _TINY), max(most_second, _TINY)
        for at in range(begin, end):
            first[at] = _place(middles[0], new_first[at - begin] / most_first)
            second[at] = _place(middles[1], new_second[at - begin] / most_second)
