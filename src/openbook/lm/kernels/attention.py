# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""softmax(Q K^T) V of one sequence, all heads, in float32; Q is scaled beforehand."""

from __future__ import annotations

import numpy as np
from numba import njit

from openbook.lm.kernels.rows import INLINE, softmax_row
from openbook.lm.kernels.vector import float_tile

ROWS = 12
_KEYS = 32
_tile = float_tile(ROWS, 2)  # 24 sums of the 32 vector registers


@njit(**INLINE)
def attend(qkv, length, num_heads, head_dim, out):
    """out[:length] (T, E) from qkv (rows, 3E), rows a multiple of ROWS, at least length; head_dim a multiple of 32."""
    E = num_heads * head_dim
    padded = (length + _KEYS - 1) // _KEYS * _KEYS
    keys = np.zeros((padded // 16, head_dim, 16), np.float32)
    values = np.empty((head_dim // 16, length, 16), np.float32)
    scores = np.empty((ROWS, padded), np.float32)
    mixed = np.empty((ROWS, 32), np.float32)
    row_bytes, score_bytes = qkv.strides[0], padded * 4
    for head in range(num_heads):
        at = head * head_dim
        _pack_keys(qkv[:, E + at : E + at + head_dim], length, keys)
        _pack_values(qkv[:, 2 * E + at : 2 * E + at + head_dim], length, values)
        for row in range(0, length, ROWS):
            left = qkv.ctypes.data + row * row_bytes + at * 4
            for key in range(0, padded, _KEYS):
                right = keys.ctypes.data + key * head_dim * 4
                _tile(right, head_dim * 64, left, row_bytes, head_dim, scores.ctypes.data + key * 4, score_bytes)
            for r in range(ROWS):
                softmax_row(scores[r], length)
            for c in range(0, head_dim, 32):
                right = values.ctypes.data + c * length * 4
                _tile(right, length * 64, scores.ctypes.data, score_bytes, length, mixed.ctypes.data, 128)
                for r in range(min(ROWS, length - row)):
                    target, source = out[row + r, at + c : at + c + 32], mixed[r]
                    for d in range(32):
                        target[d] = source[d]


@njit(**INLINE)
def _pack_keys(source, length, keys):
    """source (T, D) -> keys [T / 16][D][16]; the lanes behind the last key stay 0."""
    for panel in range(keys.shape[0]):
        target = keys[panel]
        for lane in range(min(16, length - panel * 16)):
            row = source[panel * 16 + lane]
            for d in range(source.shape[1]):
                target[d, lane] = row[d]


@njit(**INLINE)
def _pack_values(source, length, values):
    """source (T, D) -> values [D / 16][T][16]."""
    for panel in range(values.shape[0]):
        for j in range(length):
            row, target = source[j, panel * 16 : panel * 16 + 16], values[panel, j]
            for d in range(16):
                target[d] = row[d]
