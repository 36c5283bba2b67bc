# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""A token of each row of logits, drawn from their whole softmax: nothing is sorted. Reference: the sums in its test."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.likeliest import highest
from openbook.lm.kernels.rows import exp

_BLOCK = 512
_f = np.float32
_NEVER = np.float32(-np.inf)


@njit(nogil=True, error_model="numpy", boundscheck=False, fastmath={"reassoc", "contract", "nsz"})
def mass(values, high, scale):
    """Sum of exp((value - high) scale)."""
    total = _f(0.0)
    for j in range(len(values)):
        total += exp((values[j] - high) * scale)
    return total


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _whole(own, count, high, scale):
    total = 0.0
    for start in range(0, count, _BLOCK):
        total += np.float64(mass(own[start : min(start + _BLOCK, count)], high, scale))
    return total


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _at(own, count, high, scale, wanted):
    """The first place whose sum, all before it included, is above `wanted`, of those that are not forbidden."""
    before, last = 0.0, -1
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        part = np.float64(mass(own[start:end], high, scale))
        if before + part <= wanted:
            before += part
            continue
        for j in range(start, end):
            before += np.float64(exp((own[j] - high) * scale))
            if own[j] > _NEVER:
                last = j
                if before > wanted:
                    return j
    if last < 0:  # sums of another order fell short in the last block
        last = 0
        while own[last] != high:
            last += 1
    return last


@njit(cache=True, nogil=True, parallel=True, error_model="numpy", boundscheck=False)
def draw_rows(logits, count, rows, scales, told_scales, uniforms, tokens, logprobs):
    """logits: (S, >= count) float32 without a number that is none. Of each of `rows` (R,): a token by inverting the softmax of
    logits times its scale (1 / temperature) at its uniform number, in the order of tokens -> tokens (R,), and log p of it under
    the softmax of logits times `told_scales` -> logprobs (R,).
    """
    for i in prange(len(rows)):
        own = logits[rows[i], :count]
        high, _ = highest(own)
        whole = _whole(own, count, high, scales[i])
        token = _at(own, count, high, scales[i], uniforms[i] * whole)
        if told_scales[i] != scales[i]:
            whole = _whole(own, count, high, told_scales[i])
        tokens[i] = token
        logprobs[i] = np.float64((own[token] - high) * told_scales[i]) - np.log(whole)
