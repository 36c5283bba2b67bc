# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""The likeliest token of each row of logits: one pass over memory, rows beside each other. Reference: `torch.max`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.vector import larger

_PIECE = 1_024
_BLOCK = 64
_f = np.float32


@njit(nogil=True, error_model="numpy", boundscheck=False, fastmath={"reassoc", "contract", "nsz"})
def highest(values):
    """(the largest, how many are no numbers): the first means nothing where the second is not 0."""
    high, odd = values[0], np.int32(0)
    for j in range(len(values)):
        high = larger(high, values[j])
        odd += np.int32(values[j] != values[j])
    return high, odd


@njit(cache=True, nogil=True, parallel=True, error_model="numpy", boundscheck=False)
def likeliest(logits, count, found):
    """logits: (S, >= count) float32 -> found: (S,) the first place of the largest of `count`; -1 where one is no number, or the
    largest is infinite.
    """
    for row in prange(logits.shape[0]):
        own = logits[row]
        best, at, odd = _f(-np.inf), 0, 0
        for start in range(0, count, _PIECE):
            high, strange = highest(own[start : min(start + _PIECE, count)])
            odd += strange
            if high > best:
                best, at = high, start
        place = -1
        if odd == 0 and np.isfinite(best):
            place = at
            while own[place] != best:
                place += 1
        found[row] = place


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def likeliest_by_peaks(logits, count, peaks, found):
    """The same by the highest of each 64 logits, which the product that made them has found. peaks: (S, >= count / 64)."""
    blocks = (count + _BLOCK - 1) // _BLOCK
    for row in range(logits.shape[0]):
        own = peaks[row, :blocks]
        best, odd = highest(own)
        place = -1
        if odd == 0 and np.isfinite(best):
            block = 0
            while own[block] != best:
                block += 1
            place = block * _BLOCK
            while logits[row, place] != best:
                place += 1
        found[row] = place
