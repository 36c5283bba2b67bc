# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""softmax(Q K^T) V of one sequence, all heads, in float32; Q is scaled beforehand."""

from __future__ import annotations

import numpy as np
from numba import njit

from openbook.lm.kernels.rows import INLINE, softmax_row
from openbook.lm.kernels.vector import float_tile

ROWS = 12
_KEYS = 64
_scores = float_tile(6, 4)
_mix = float_tile(ROWS, 2)


@njit(**INLINE)
def attend(qkv, length, num_heads, head_dim, out):
    """out[:length] (T, E) from qkv (rows, 3E), rows a multiple of ROWS, at least length; head_dim a multiple of 32."""
    E = num_heads * head_dim
    padded = (length + _KEYS - 1) // _KEYS * _KEYS
    keys = np.zeros((padded // 16, head_dim, 16), np.float32)
    values = np.zeros((head_dim // 16, padded, 16), np.float32)
    scores = np.empty((ROWS, padded), np.float32)
    tile = np.empty((6, _KEYS), np.float32)
    mixed = np.empty((ROWS, 32), np.float32)
    for head in range(num_heads):
        at = head * head_dim
        for j in range(length):
            for d in range(head_dim):
                keys[j // 16, d, j % 16] = qkv[j, E + at + d]
        for c in range(head_dim // 16):
            for j in range(length):
                for d in range(16):
                    values[c, j, d] = qkv[j, 2 * E + at + c * 16 + d]
        for row in range(0, length, ROWS):
            for half in range(0, ROWS, 6):
                left = qkv.ctypes.data + (row + half) * qkv.strides[0] + at * 4
                for key in range(0, padded, _KEYS):
                    right = keys.ctypes.data + key * head_dim * 4
                    _scores(right, head_dim * 64, left, qkv.strides[0], head_dim, tile.ctypes.data)
                    for r in range(6):
                        for j in range(_KEYS):
                            scores[half + r, key + j] = tile[r, j]
            for r in range(ROWS):
                softmax_row(scores[r], length, padded)
            for c in range(0, head_dim, 32):
                right = values.ctypes.data + c * padded * 4
                _mix(right, padded * 64, scores.ctypes.data, padded * 4, length, mixed.ctypes.data)
                for r in range(min(ROWS, length - row)):
                    for d in range(32):
                        out[row + r, at + c + d] = mixed[r, d]
