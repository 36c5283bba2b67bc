# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""Attention of one new token a sequence over keys and values in blocks: nothing is gathered, each block is read where it lies.

One task is a sequence and a key head; the query heads that share it read its keys together. Reference: `nn.paged.PagedCache.read`
and `nn.attend.attend`. Source: Kwon et al. 2023, https://arxiv.org/abs/2309.06180, section 4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.cache_keys import kept_as
from openbook.lm.kernels.decoder_rows import widened
from openbook.lm.kernels.rows import INLINE, exp
from openbook.lm.kernels.vector import larger

_PARALLEL: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "parallel": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"reassoc", "contract", "nsz"},
}
_f = np.float32


@njit(**INLINE)
def _softmax(scores, count):
    high = scores[0]
    for t in range(1, count):
        high = larger(high, scores[t])
    total = _f(0.0)
    for t in range(count):
        scores[t] = exp(scores[t] - high)
        total += scores[t]
    for t in range(count):
        scores[t] /= total


def _make(kind, read):
    """The kernel for storage of one kind, whose numbers `read` makes floats of."""

    @njit(**_PARALLEL)
    def attend(q, k, v, tables, lengths, scale, window, out):
        """q, out: (S, H, D) float32. k, v: (blocks, size, G, D). tables: (S, most), lengths: (S,): tokens visible, the new one
        included; at most the last `window` of them.
        """
        S, H, D = q.shape
        size, G = k.shape[1], k.shape[2]
        shared = H // G
        for task in prange(S * G):
            s, g = task // G, task % G
            K = lengths[s]
            first = max(0, K - window)
            count = K - first
            scores = np.empty((shared, count), np.float32)
            row = np.empty(D, np.float32)
            for t in range(first, K):
                keys = k[tables[s, t // size], t % size, g]
                for j in range(D):
                    row[j] = read(keys[j])
                for h in range(shared):
                    query = q[s, g * shared + h]
                    total = _f(0.0)
                    for j in range(D):
                        total += query[j] * row[j]
                    scores[h, t - first] = total * scale
            for h in range(shared):
                _softmax(scores[h], count)
            sums = np.zeros((shared, D), np.float32)
            for t in range(first, K):
                values = v[tables[s, t // size], t % size, g]
                for j in range(D):
                    row[j] = read(values[j])
                for h in range(shared):
                    weight = scores[h, t - first]
                    for j in range(D):
                        sums[h, j] += weight * row[j]
            for h in range(shared):
                for j in range(D):
                    out[s, g * shared + h, j] = sums[h, j]

    return kept_as(attend, kind)


@njit(**INLINE)
def _as_it_is(x):
    return x


paged_attention_float32 = _make("float32", _as_it_is)
paged_attention_bfloat16 = _make("bfloat16", widened)
