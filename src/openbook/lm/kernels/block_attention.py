# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""Attention of new tokens over keys and values in packed blocks: prompts, chunks of prompts and single tokens by one kernel.

A query's result depends on its own numbers and on what it sees, to the bit: not on the chunk in which it is computed, nor on
what runs beside it. Storage and order: see `cache_tiles`. Reference: `nn.attend.attend`.
Source: Kwon et al. 2023, https://arxiv.org/abs/2309.06180, section 4.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from openbook.lm.kernels.cache_tiles import BLOCK, Way, mix_tile, score_tile
from openbook.lm.kernels.cpu import cpu_features
from openbook.lm.kernels.decoder_rows import narrowed
from openbook.lm.kernels.rows import INLINE, exp
from openbook.lm.kernels.vector import by_height, larger

HEIGHT = 8  # query rows that are computed together
_f = np.float32


@njit(**INLINE)
def _exponentials(scores, first, end, padded):
    """scores[:padded] = exp(score - the largest) in [first, end), 0 elsewhere; their sum."""
    seen = scores[first:end]  # counted from 0: LLVM makes vectors of no loop whose index might be negative
    high = seen[0]
    for t in range(len(seen)):
        high = larger(high, seen[t])
    total = _f(0.0)
    for t in range(len(seen)):
        value = exp(seen[t] - high)
        seen[t] = value
        total += value
    scores[:first] = _f(0.0)
    scores[end:padded] = _f(0.0)
    return total


@njit(**INLINE)
def _kept(x):
    return x


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _same_rows(scores, rows):
    return scores


@njit(nogil=True, error_model="numpy", boundscheck=False)
def _narrow_rows(scores, rows):
    """The first `rows`, rounded to the bits of bfloat16."""
    found = np.empty(scores.shape, np.uint16)
    for row in range(rows):
        source, target = scores[row], found[row]
        for j in range(len(source)):
            target[j] = narrowed(source[j])
    return found


class Kernels(NamedTuple):
    """Of one kind of storage. `attend`: a key head of a few tokens of one sequence. `store`: a token's keys and values.
    `clear_behind`: the values of the places behind a token, which are multiplied by 0 and must be numbers.
    """

    attend: Any
    store: Any
    clear_behind: Any


def make(way: Way) -> Kernels:
    """For storage in float32, or in bfloat16 (as its bits, uint16) that is read as pairs or widened."""
    number = np.uint16 if way == "pairs" else np.float32  # of queries and weights
    width = 2 if way == "pairs" else 4
    rounded = narrowed if way == "pairs" else _kept
    weights_of = _narrow_rows if way == "pairs" else _same_rows
    score1, score2, score4, score8 = (score_tile(rows, way) for rows in (1, 2, 4, 8))
    mix1, mix2, mix4 = (by_height([mix_tile(rows, panels, way) for rows in (1, 2, 4, 4)]) for panels in (1, 2, 4))

    @njit(nogil=True, error_model="numpy", boundscheck=False)
    def attend(qkv, first, tokens, position, head, shared, D, k_at, v_at, block_stride, table, scale, window, out):
        """Tokens [first, first + tokens) of one sequence, the first of them at `position`, and the `shared` query heads from
        `head` on. qkv: (N, >= H D) float32, turned; out: (N, H D). k_at, v_at: addresses of the key head in block 0;
        block_stride: bytes; table: (blocks,) int64. The keys of all these tokens are stored.
        """
        rows = tokens * shared
        most = position + tokens
        begin = max(0, position + 1 - window) // BLOCK  # the first block that a row sees
        blocks = (most - 1) // BLOCK + 1 - begin
        padded = (blocks + blocks % 2) * BLOCK
        height = (rows + HEIGHT - 1) // HEIGHT * HEIGHT
        queries = np.empty((height, D), number)
        scores = np.empty((height, padded), np.float32)
        mixed = np.empty((height, D), np.float32)
        sums = np.empty(height, np.float32)
        ahead = np.empty(4, np.int64)
        ahead_at = ahead.ctypes.data
        for t in range(tokens):
            for h in range(shared):
                source = qkv[first + t, (head + h) * D : (head + h + 1) * D]
                target = queries[t * shared + h]
                for j in range(D):
                    target[j] = rounded(source[j] * scale)
        for row in range(rows, height):
            for j in range(D):
                queries[row, j] = number(0)
        q_at, s_at, m_at, table_at = queries.ctypes.data, scores.ctypes.data, mixed.ctypes.data, table.ctypes.data
        q_stride = width * D
        for row in range(0, rows, HEIGHT):
            left = rows - row
            q, s = q_at + row * q_stride, s_at + 4 * row * padded
            for b in range(0, blocks, 2):
                one = k_at + table[begin + b] * block_stride
                other = k_at + table[begin + min(b + 1, blocks - 1)] * block_stride
                target = s + 4 * b * BLOCK
                third, fourth = table[begin + min(b + 2, blocks - 1)], table[begin + min(b + 3, blocks - 1)]
                ahead[0], ahead[1] = k_at + third * block_stride, k_at + fourth * block_stride
                ahead[2] = v_at + table[begin + b] * block_stride
                ahead[3] = v_at + table[begin + min(b + 1, blocks - 1)] * block_stride
                if left > 4:
                    score8(q, q_stride, D, one, other, ahead_at, target, 4 * padded)
                elif left > 2:
                    score4(q, q_stride, D, one, other, ahead_at, target, 4 * padded)
                elif left == 2:
                    score2(q, q_stride, D, one, other, ahead_at, target, 4 * padded)
                else:
                    score1(q, q_stride, D, one, other, ahead_at, target, 4 * padded)
        for row in range(rows):
            end = position + row // shared + 1
            sums[row] = _exponentials(
                scores[row], max(0, end - window) - begin * BLOCK, end - begin * BLOCK, blocks * BLOCK
            )
        weights = weights_of(scores, rows)
        w_at, w_stride = weights.ctypes.data, width * padded
        for row in range(0, rows, 4):
            count, w = min(4, rows - row), w_at + row * w_stride
            at = 0
            while at < D:
                values, target = v_at + 4 * at, m_at + 4 * (row * D + at)
                if D - at >= 64:
                    mix4(count, w, w_stride, table_at + 8 * begin, blocks, values, block_stride, D, target, 4 * D)
                    at += 64
                elif D - at >= 32:
                    mix2(count, w, w_stride, table_at + 8 * begin, blocks, values, block_stride, D, target, 4 * D)
                    at += 32
                else:
                    mix1(count, w, w_stride, table_at + 8 * begin, blocks, values, block_stride, D, target, 4 * D)
                    at += 16
        for t in range(tokens):
            for h in range(shared):
                row = t * shared + h
                inverse = _f(1.0) / sums[row]
                source, target = mixed[row], out[first + t, (head + h) * D : (head + h + 1) * D]
                for j in range(D):
                    target[j] = source[j] * inverse

    if way == "float32":

        @njit(nogil=True, error_model="numpy", boundscheck=False)
        def store(key, value, k, v, place, D):
            """key, value: (D,) -> token `place` of the block k (D, 16), v (16, D)."""
            for j in range(D):
                k[j * BLOCK + place] = key[j]
                v[place * D + j] = value[j]

        @njit(nogil=True, error_model="numpy", boundscheck=False)
        def clear_behind(v, place, D):
            for at in range((place + 1) * D, BLOCK * D):
                v[at] = _f(0.0)
    else:

        @njit(nogil=True, error_model="numpy", boundscheck=False)
        def store(key, value, k, v, place, D):
            """key, value: (D,) -> token `place` of the block k (D / 2, 16, 2), v (8, D, 2), bits of bfloat16."""
            for j in range(D):
                k[(j // 2 * BLOCK + place) * 2 + j % 2] = narrowed(key[j])
                v[(place // 2 * D + j) * 2 + place % 2] = narrowed(value[j])

        @njit(nogil=True, error_model="numpy", boundscheck=False)
        def clear_behind(v, place, D):
            for later in range(place + 1, BLOCK):
                for j in range(D):
                    v[(later // 2 * D + j) * 2 + later % 2] = np.uint16(0)

    return Kernels(attend, store, clear_behind)


FLOAT32, BFLOAT16 = make("float32"), make("pairs" if "avx512bf16" in cpu_features() else "widened")
