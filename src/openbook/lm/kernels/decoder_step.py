# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""All layers of a Llama-like decoder in one call: between two products nothing returns to Python, nothing is copied.

Where little is computed (one token of a 0.5B model: 8 ms), the way from operation to operation costs as much as they do.
A row's numbers depend on that row and on its own keys and values alone. Reference: `families.llama` with the plain layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from openbook.lm.kernels import block_attention
from openbook.lm.kernels.block_products import BFLOAT16, INT4, INT8, Product
from openbook.lm.kernels.decoder_rows import narrowed
from openbook.lm.kernels.int8_linear import COLUMNS
from openbook.lm.kernels.rows import INLINE, exp

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
_PARALLEL: dict[str, Any] = {**_OPTIONS, "parallel": True}
_CHUNK = 48  # rows of the gated part that stay in the first cache
_FEW = 3  # below it rows are not worth a second thread
_f = np.float32


@njit(**INLINE)
def _normalise(row, weight, eps, out):
    """out = row / sqrt(mean(row^2) + eps) * weight"""
    n = len(weight)
    square = _f(0.0)
    for j in range(n):
        square += row[j] * row[j]
    scale = _f(1.0) / np.sqrt(square / _f(n) + eps)
    for j in range(n):
        out[j] = row[j] * scale * weight[j]


@njit(**INLINE)
def _turn(head, cos, sin):
    """A head in place: pairs (i, i + D/2) by the angles."""
    half = len(head) // 2
    for j in range(half):
        a, b = head[j], head[half + j]
        head[j] = a * cos[j] - b * sin[j]
        head[half + j] = b * cos[half + j] + a * sin[half + j]


@njit(**INLINE)
def _silu(x):
    part = exp(-abs(x))
    return x / (_f(1.0) + part) * (_f(1.0) if x >= _f(0.0) else part)


@njit(**INLINE)
def narrow(source, target):
    for j in range(COLUMNS):
        target[j] = narrowed(source[j])


def make(product: Product, wide: bool) -> tuple[Any, Any, Any]:
    """(step, head, narrow_head) for weights of one kind and a cache in float32 (`wide`) or bfloat16."""
    prepare, multiply, add = product
    attend, store, clear_behind = block_attention.FLOAT32 if wide else block_attention.BFLOAT16

    @njit(nogil=True, error_model="numpy", boundscheck=False)
    def normed(row, x, weight, eps, work, ready):
        _normalise(x[row], weight, eps, work[row])
        prepare(work[row], len(weight), ready, row)

    @njit(nogil=True, error_model="numpy", boundscheck=False)
    def place(row, qkv, cos, sin, H, G, D, norms, has_norms, eps, blocks, first_block, slot, k, v):
        """Queries and keys turned, keys and values stored. blocks: of the row's sequence; slot: its position."""
        own = qkv[row]
        for h in range(H + G):
            head = own[h * D : (h + 1) * D]
            if has_norms:
                _normalise(head, norms[0] if h < H else norms[1], eps, head)
            _turn(head, cos[row], sin[row])
        block = first_block + blocks[slot // 16]
        for g in range(G):
            key, value = own[(H + g) * D : (H + g + 1) * D], own[(H + G + g) * D : (H + G + g + 1) * D]
            store(key, value, k[block, g], v[block, g], slot % 16, D)

    @njit(**INLINE)
    def gate(gates, ups, out):
        for j in range(COLUMNS):
            out[j] = _silu(gates[j]) * ups[j]

    @njit(**_PARALLEL)
    def step(x, cos, sin, positions, sequences, last, tables, tasks, shape, weights, qkv_sides, out_sides, up_sides,
             down_sides, norms, head_norms, windows, eps, scale, k_cache, v_cache, layer_blocks, ready, scratch):  # fmt: skip
        """x: (N, E) float32, changed in place by all layers.

        cos, sin: (N, D). positions, sequences: (N,) of each token; last: (S,) the last token of each; tables: (S, most).
        tasks: (T, 2) first token, number of tokens. shape: (H, G, D, I). weights: (L, 4, 2) addresses of what `product`
        reads for query-key-value, output, gate-up, down; *_sides: (L, 3, n) float32. norms: (L, 2, E); head_norms: (L, 2, D) or
        (L, 2, 0). windows: (L,). k_cache, v_cache: (blocks of all layers, G, 16 D); `layer_blocks`: those of a layer, 0
        where each writes over the last one's. scratch: see `fused_decoder`.
        """
        H, G, D, inner = shape
        work, qkv, mixed, gated = scratch
        N, E = x.shape
        layers, shared = weights.shape[0], H // G
        has_norms = head_norms.shape[2] > 0
        block_stride, head_stride = k_cache.strides[0], k_cache.strides[1]
        x_at, x_stride = x.ctypes.data, x.strides[0]
        for layer in range(layers):
            window, first_block = windows[layer], layer * layer_blocks
            k_at = k_cache.ctypes.data + first_block * block_stride
            v_at = v_cache.ctypes.data + first_block * block_stride
            first_norm, second_norm, own_norms = norms[layer, 0], norms[layer, 1], head_norms[layer]
            if N < _FEW:
                for row in range(N):
                    normed(row, x, first_norm, eps, work, ready)
            else:
                for row in prange(N):
                    normed(row, x, first_norm, eps, work, ready)
            at, sides = weights[layer, 0], qkv_sides[layer]
            out, stride = qkv.ctypes.data, qkv.strides[0]
            for block in prange(sides.shape[1] // COLUMNS):
                column = block * COLUMNS
                multiply(at, sides, column, E, ready, 0, N, out + 4 * column, stride)
            if N < _FEW:
                for row in range(N):
                    s = sequences[row]
                    place(row, qkv, cos, sin, H, G, D, own_norms, has_norms, eps, tables[s], first_block, positions[row],
                          k_cache, v_cache)  # fmt: skip
            else:
                for row in prange(N):
                    s = sequences[row]
                    place(row, qkv, cos, sin, H, G, D, own_norms, has_norms, eps, tables[s], first_block, positions[row],
                          k_cache, v_cache)  # fmt: skip
            for s in range(len(last)):
                slot = positions[last[s]]
                for g in range(G):
                    clear_behind(v_cache[first_block + tables[s, slot // 16], g], slot % 16, D)
            for task in prange(len(tasks) * G):
                one, g = task // G, task % G
                first, tokens = tasks[one, 0], tasks[one, 1]
                attend(qkv, first, tokens, positions[first], g * shared, shared, D, k_at + g * head_stride,
                       v_at + g * head_stride, block_stride, tables[sequences[first]], scale, window, mixed)  # fmt: skip
            if N < _FEW:
                for row in range(N):
                    prepare(mixed[row], H * D, ready, row)
            else:
                for row in prange(N):
                    prepare(mixed[row], H * D, ready, row)
            at, sides = weights[layer, 1], out_sides[layer]
            for block in prange(sides.shape[1] // COLUMNS):
                column = block * COLUMNS
                add(at, sides, column, H * D, ready, 0, N, x_at + 4 * column, x_stride)
            if N < _FEW:
                for row in range(N):
                    normed(row, x, second_norm, eps, work, ready)
            else:
                for row in prange(N):
                    normed(row, x, second_norm, eps, work, ready)
            at, sides = weights[layer, 2], up_sides[layer]
            for block in prange(inner // COLUMNS):
                column = block * COLUMNS
                gates, ups = np.empty((_CHUNK, COLUMNS), np.float32), np.empty((_CHUNK, COLUMNS), np.float32)
                for row in range(0, N, _CHUNK):
                    rows = min(_CHUNK, N - row)
                    multiply(at, sides, column, E, ready, row, rows, gates.ctypes.data, 4 * COLUMNS)
                    multiply(at, sides, inner + column, E, ready, row, rows, ups.ctypes.data, 4 * COLUMNS)
                    for r in range(rows):
                        gate(gates[r], ups[r], gated[row + r, column : column + COLUMNS])
            if N < _FEW:
                for row in range(N):
                    prepare(gated[row], inner, ready, row)
            else:
                for row in prange(N):
                    prepare(gated[row], inner, ready, row)
            at, sides = weights[layer, 3], down_sides[layer]
            for block in prange(sides.shape[1] // COLUMNS):
                column = block * COLUMNS
                add(at, sides, column, inner, ready, 0, N, x_at + 4 * column, x_stride)

    @njit(**_PARALLEL)
    def head(x, norm, eps, at, sides, ready, scratch, out):
        """x: (M, E) the rows that are asked for -> out: (M, >= n) float32, their logits."""
        work = scratch[0]
        M, E = x.shape
        for row in range(M):
            normed(row, x, norm, eps, work, ready)
        logits, stride = out.ctypes.data, out.strides[0]
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            multiply(at, sides, column, E, ready, 0, M, logits + 4 * column, stride)

    @njit(**_PARALLEL)
    def narrow_head(x, norm, eps, at, sides, ready, scratch, out):
        """The same, rounded to the bits of bfloat16. out: (M, >= n) uint16."""
        work = scratch[0]
        M, E = x.shape
        for row in prange(M):
            normed(row, x, norm, eps, work, ready)
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            part = np.empty((_CHUNK, COLUMNS), np.float32)
            for row in range(0, M, _CHUNK):
                rows = min(_CHUNK, M - row)
                multiply(at, sides, column, E, ready, row, rows, part.ctypes.data, 4 * COLUMNS)
                for r in range(rows):
                    narrow(part[r], out[row + r, column : column + COLUMNS])

    return step, head, narrow_head


INT8_FLOAT32, INT8_BFLOAT16 = make(INT8, wide=True), make(INT8, wide=False)
BFLOAT16_FLOAT32, BFLOAT16_BFLOAT16 = make(BFLOAT16, wide=True), make(BFLOAT16, wide=False)
INT4_FLOAT32, INT4_BFLOAT16 = make(INT4, wide=True), make(INT4, wide=False)
