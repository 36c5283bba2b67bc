# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""All layers of a Llama-like decoder in one call: between two products nothing returns to Python, nothing is copied.

Where little is computed (one token of a 0.5B model: 8 ms), the way from operation to operation costs as much as they do.
A row's numbers depend on that row and on its own keys and values alone. Reference: `families.llama` with the plain layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from openbook.lm.kernels import block_attention
from openbook.lm.kernels.block_products import BFLOAT16, INT4, INT8, Product
from openbook.lm.kernels.decoder_rows import narrowed
from openbook.lm.kernels.int8_linear import COLUMNS
from openbook.lm.kernels.likeliest import highest
from openbook.lm.kernels.rows import INLINE, exp

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
_PARALLEL: dict[str, Any] = {**_OPTIONS, "parallel": True}
_PART: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_PARALLEL_PART: dict[str, Any] = {**_PART, "parallel": True}
_CHUNK = 48  # rows of the gated part that stay in the first cache
BLOCK = 16  # of tokens, in the cache
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
    first, second = head[:half], head[half:]
    first_cos, first_sin, second_cos, second_sin = cos[:half], sin[:half], cos[half:], sin[half:]
    for j in range(half):
        a, b = first[j], second[j]
        first[j] = a * first_cos[j] - b * first_sin[j]
        second[j] = b * second_cos[j] + a * second_sin[j]


@njit(**INLINE)
def _silu(x):
    part = exp(-abs(x))
    return x / (_f(1.0) + part) * (_f(1.0) if x >= _f(0.0) else part)


@njit(**INLINE)
def _gate(gates, ups):
    """gates = silu(gates) ups: all rows as one, since a loop over 64 numbers is over before it is at its speed."""
    for j in range(len(gates)):
        gates[j] = _silu(gates[j]) * ups[j]


@njit(**INLINE)
def _narrow(source, target):
    for j in range(COLUMNS):
        target[j] = narrowed(source[j])


class Rows(NamedTuple):
    """Parts of a layer that go through all rows, on all threads where there are enough; see `decoder_step`."""

    normed: Any
    prepared: Any
    multiplied: Any
    added: Any
    gated: Any


def make_rows(product: Product) -> Rows:
    prepare, multiply, add = product

    @njit(**_PART)
    def normed_row(row, x, weight, eps, work, ready):
        _normalise(x[row], weight, eps, work[row])
        prepare(work[row], len(weight), ready, row)

    @njit(**_PARALLEL_PART)
    def normed(x, weight, eps, work, ready):
        """x: (N, E) -> each row, normalised, ready to be multiplied."""
        if len(x) < _FEW:
            for row in range(len(x)):
                normed_row(row, x, weight, eps, work, ready)
        else:
            for row in prange(len(x)):
                normed_row(row, x, weight, eps, work, ready)

    @njit(**_PARALLEL_PART)
    def prepared(source, N, n, ready):
        """source: (>= N, >= n) -> `n` numbers of each row, ready to be multiplied."""
        if N < _FEW:
            for row in range(N):
                prepare(source[row], n, ready, row)
        else:
            for row in prange(N):
                prepare(source[row], n, ready, row)

    @njit(**_PARALLEL_PART)
    def multiplied(at, sides, k, ready, N, out):
        """out: (>= N, n) float32 = x W^T + b. at: (2,) addresses of W, sides: (3, n)."""
        out_at, stride = out.ctypes.data, out.strides[0]
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            multiply(at, sides, column, k, ready, 0, N, out_at + 4 * column, stride)

    @njit(**_PARALLEL_PART)
    def added(at, sides, k, ready, N, out):
        """out += x W^T + b"""
        out_at, stride = out.ctypes.data, out.strides[0]
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            add(at, sides, column, k, ready, 0, N, out_at + 4 * column, stride)

    @njit(**_PARALLEL_PART)
    def gated(at, sides, k, ready, N, inner, out):
        """out: (>= N, inner) = silu(gate) up; the gates are the first `inner` outputs. Both stay in the first cache."""
        for block in prange(inner // COLUMNS):
            column = block * COLUMNS
            gates, ups = np.empty(_CHUNK * COLUMNS, np.float32), np.empty(_CHUNK * COLUMNS, np.float32)
            for row in range(0, N, _CHUNK):
                rows = min(_CHUNK, N - row)
                multiply(at, sides, column, k, ready, row, rows, gates.ctypes.data, 4 * COLUMNS)
                multiply(at, sides, inner + column, k, ready, row, rows, ups.ctypes.data, 4 * COLUMNS)
                _gate(gates[: rows * COLUMNS], ups[: rows * COLUMNS])
                for r in range(rows):
                    out[row + r, column : column + COLUMNS] = gates[r * COLUMNS : (r + 1) * COLUMNS]

    return Rows(normed, prepared, multiplied, added, gated)


class Attention(NamedTuple):
    """Parts of a layer that know positions and the cache."""

    placed: Any
    attended: Any


def make_attention(wide: bool) -> Attention:
    """`wide`: keys and values in float32, else in bfloat16."""
    attend, store, clear_behind = block_attention.FLOAT32 if wide else block_attention.BFLOAT16

    @njit(**_PART)
    def place(row, qkv, cos, sin, shape, norms, eps, blocks, first_block, slot, k, v):
        """blocks: of the row's sequence; slot: its position."""
        H, G, D, _ = shape
        own = qkv[row]
        for h in range(H + G):
            head = own[h * D : (h + 1) * D]
            if norms.shape[1] > 0:
                _normalise(head, norms[0] if h < H else norms[1], eps, head)
            _turn(head, cos[row], sin[row])
        block = first_block + blocks[slot // BLOCK]
        for g in range(G):
            key, value = own[(H + g) * D : (H + g + 1) * D], own[(H + G + g) * D : (H + G + g + 1) * D]
            store(key, value, k[block, g], v[block, g], slot % BLOCK, D)

    @njit(**_PARALLEL_PART)
    def placed(N, qkv, cos, sin, shape, norms, eps, positions, sequences, last, tables, first_block, k, v):
        """Queries and keys turned, keys and values stored. norms: (2, D), or (2, 0) for none."""
        if N < _FEW:
            for row in range(N):
                table = tables[sequences[row]]
                place(row, qkv, cos, sin, shape, norms, eps, table, first_block, positions[row], k, v)
        else:
            for row in prange(N):
                table = tables[sequences[row]]
                place(row, qkv, cos, sin, shape, norms, eps, table, first_block, positions[row], k, v)
        for s in range(len(last)):
            slot = positions[last[s]]
            for g in range(shape[1]):
                clear_behind(v[first_block + tables[s, slot // BLOCK], g], slot % BLOCK, shape[2])

    @njit(**_PARALLEL_PART)
    def attended(tasks, qkv, positions, sequences, tables, shape, scale, window, first_block, k, v, mixed):
        """mixed: (>= N, H D), what each query takes of the values it may see."""
        H, G, D, _ = shape
        shared = H // G
        block_stride, head_stride = k.strides[0], k.strides[1]
        k_at, v_at = k.ctypes.data + first_block * block_stride, v.ctypes.data + first_block * block_stride
        for task in prange(len(tasks) * G):
            one, g = task // G, task % G
            first, tokens = tasks[one, 0], tasks[one, 1]
            attend(qkv, first, tokens, positions[first], g * shared, shared, D, k_at + g * head_stride,
                   v_at + g * head_stride, block_stride, tables[sequences[first]], scale, window, mixed)  # fmt: skip

    return Attention(placed, attended)


def make(product: Product, wide: bool) -> Any:
    """All layers, for weights of one kind and a cache in float32 (`wide`) or bfloat16."""
    normed, prepared, multiplied, added, gated = make_rows(product)
    placed, attended = make_attention(wide)

    @njit(**_OPTIONS)
    def step(x, cos, sin, positions, sequences, last, tables, tasks, shape, weights, qkv_sides, out_sides, up_sides,
             down_sides, norms, head_norms, windows, eps, scale, k_cache, v_cache, layer_blocks, ready, scratch):  # fmt: skip
        """x: (N, E) float32, changed in place by all layers.

        cos, sin: (N, D). positions, sequences: (N,) of each token; last: (S,) the last token of each; tables: (S, most).
        tasks: (T, 2) first token, number of tokens. shape: (H, G, D, I). weights: (L, 4, 2) addresses of what `product`
        reads for query-key-value, output, gate-up, down; *_sides: (L, 3, n) float32. norms: (L, 2, E); head_norms: (L, 2, D) or
        (L, 2, 0). windows: (L,). k_cache, v_cache: (blocks of all layers, G, 16 D); `layer_blocks`: those of a layer, 0
        where each writes over the last one's. scratch: see `fused_decoder`.
        """
        H, _, D, inner = shape
        work, qkv, mixed, between = scratch
        N, E = x.shape
        for layer in range(len(weights)):
            at, first_block = weights[layer], layer * layer_blocks
            normed(x, norms[layer, 0], eps, work, ready)
            multiplied(at[0], qkv_sides[layer], E, ready, N, qkv)
            placed(N, qkv, cos, sin, shape, head_norms[layer], eps, positions, sequences, last, tables, first_block,
                   k_cache, v_cache)  # fmt: skip
            attended(tasks, qkv, positions, sequences, tables, shape, scale, windows[layer], first_block, k_cache, v_cache,
                     mixed)  # fmt: skip
            prepared(mixed, N, H * D, ready)
            added(at[1], out_sides[layer], H * D, ready, N, x)
            normed(x, norms[layer, 1], eps, work, ready)
            gated(at[2], up_sides[layer], E, ready, N, inner, between)
            prepared(between, N, inner, ready)
            added(at[3], down_sides[layer], inner, ready, N, x)

    return step


def make_heads(product: Product) -> tuple[Any, Any]:
    """(head, narrow_head) for weights of one kind."""
    multiply, normed = product.multiply, make_rows(product).normed

    @njit(**_PARALLEL)
    def head(x, norm, eps, at, sides, ready, scratch, out, count, peaks):
        """x: (M, E) the rows that are asked for -> out: (M, >= n) float32, their logits.

        peaks: (M, >= n / 64): the highest of each 64 of the first `count` logits, while they are at hand; nan where one is.
        """
        work = scratch[0]
        M, E = x.shape
        normed(x, norm, eps, work, ready)
        logits, stride = out.ctypes.data, out.strides[0]
        for block in prange((count + COLUMNS - 1) // COLUMNS):
            column = block * COLUMNS
            multiply(at, sides, column, E, ready, 0, M, logits + 4 * column, stride)
            for row in range(M):
                high, odd = highest(out[row, column : min(column + COLUMNS, count)])
                peaks[row, block] = _f(np.nan) if odd else high

    @njit(**_PARALLEL)
    def narrow_head(x, norm, eps, at, sides, ready, scratch, out):
        """The same, rounded to the bits of bfloat16, without peaks. out: (M, >= n) uint16."""
        work = scratch[0]
        M, E = x.shape
        normed(x, norm, eps, work, ready)
        for block in prange(sides.shape[1] // COLUMNS):
            column = block * COLUMNS
            part = np.empty((_CHUNK, COLUMNS), np.float32)
            for row in range(0, M, _CHUNK):
                rows = min(_CHUNK, M - row)
                multiply(at, sides, column, E, ready, row, rows, part.ctypes.data, 4 * COLUMNS)
                for r in range(rows):
                    _narrow(part[r], out[row + r, column : column + COLUMNS])

    return head, narrow_head


INT8_FLOAT32, INT8_BFLOAT16 = make(INT8, wide=True), make(INT8, wide=False)
BFLOAT16_FLOAT32, BFLOAT16_BFLOAT16 = make(BFLOAT16, wide=True), make(BFLOAT16, wide=False)
INT4_FLOAT32, INT4_BFLOAT16 = make(INT4, wide=True), make(INT4, wide=False)
INT8_HEADS, BFLOAT16_HEADS, INT4_HEADS = make_heads(INT8), make_heads(BFLOAT16), make_heads(INT4)
