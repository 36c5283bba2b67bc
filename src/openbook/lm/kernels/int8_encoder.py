# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""All layers of a post-norm encoder (BERT) for one sequence at a time, in one compiled function without the GIL.

One sequence is one task of one thread: there is no padding between texts, and a text's vector is the same to the bit
whatever stands beside it. Rows are padded to a multiple of 12 within the sequence.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from openbook.lm.kernels.attention import ROWS as TILE_ROWS
from openbook.lm.kernels.attention import attend
from openbook.lm.kernels.cache_keys import sources
from openbook.lm.kernels.int8_linear import int8_linear
from openbook.lm.kernels.rows import INLINE, OPTIONS, add_norm_row, gelu_row, quantize_row

_BLOCK = 60  # rows whose intermediate (60, 4E) float32 stays in the second cache


@njit(**INLINE)
def _encode_one(x, num_heads, eps, qkv, out, up, down, norms):
    T, E = x.shape
    I = up[1].shape[1]  # noqa: E741
    rows = (T + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    bytes_in = np.zeros((rows, E), np.uint8)
    bytes_up = np.zeros((_BLOCK, I), np.uint8)
    steps, lows = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    up_steps, up_lows = np.zeros(_BLOCK, np.float32), np.zeros(_BLOCK, np.float32)
    projected = np.empty((rows, 3 * E), np.float32)
    mixed = np.empty((rows, E), np.float32)
    wide = np.empty((_BLOCK, I), np.float32)
    added = np.empty((_BLOCK, E), np.float32)
    for r in range(T):
        steps[r], lows[r] = quantize_row(x[r], E, bytes_in[r])
    for layer in range(norms.shape[0]):
        W, s, o, b = qkv
        int8_linear(bytes_in, steps, lows, W[layer], s[layer], o[layer], b[layer], projected, rows, 3 * E, E)
        attend(projected, T, num_heads, E // num_heads, mixed)
        for r in range(T):
            steps[r], lows[r] = quantize_row(mixed[r], E, bytes_in[r])
        for start in range(0, rows, _BLOCK):
            end = min(start + _BLOCK, rows)
            count, live = end - start, min(end, T) - start
            block, st, lo = bytes_in[start:end], steps[start:end], lows[start:end]
            W, s, o, b = out
            int8_linear(block, st, lo, W[layer], s[layer], o[layer], b[layer], added, count, E, E)
            for r in range(live):
                add_norm_row(x[start + r], added[r], E, norms[layer, 0], norms[layer, 1], eps)
                st[r], lo[r] = quantize_row(x[start + r], E, block[r])
            W, s, o, b = up
            int8_linear(block, st, lo, W[layer], s[layer], o[layer], b[layer], wide, count, I, E)
            for r in range(count):
                gelu_row(wide[r], I)
                up_steps[r], up_lows[r] = quantize_row(wide[r], I, bytes_up[r])
            W, s, o, b = down
            int8_linear(bytes_up, up_steps, up_lows, W[layer], s[layer], o[layer], b[layer], added, count, E, I)
            for r in range(live):
                add_norm_row(x[start + r], added[r], E, norms[layer, 2], norms[layer, 3], eps)
                st[r], lo[r] = quantize_row(x[start + r], E, block[r])


def _compiled(digest):
    """`encode`, cached on disk under `digest`, which it mentions only so that numba makes it part of the key."""

    @njit(**OPTIONS)
    def encode(hidden, starts, ids, segments, tables, num_heads, eps, qkv, out, up, down, norms):
        """hidden (N, E) receives the last layer of the sequences starts[i]:starts[i + 1]; ids and segments: (N,) int64.

        tables: embeddings of words (V, E), positions (P, E), segments (2, E), and their norm (2, E).
        qkv, out, up, down: (weights (L, n * k) s8 in panels, scale, offset, bias each (L, n)); norms: (L, 4, E), weight
        and bias of the norm after attention, then of that after the MLP.
        """
        assert digest
        words, places, kinds, norm = tables
        E = hidden.shape[1]
        for i in range(len(starts) - 1):
            for r in range(starts[i], starts[i + 1]):
                word, place = words[ids[r]], places[r - starts[i]]
                for j in range(E):
                    hidden[r, j] = word[j] + place[j]
                add_norm_row(hidden[r], kinds[segments[r]], E, norm[0], norm[1], eps)
            _encode_one(hidden[starts[i] : starts[i + 1]], num_heads, eps, qkv, out, up, down, norms)

    return encode


encode = _compiled(sources())
