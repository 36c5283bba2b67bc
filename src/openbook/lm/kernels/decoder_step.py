# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""All layers of a Llama-like decoder in one call: between two products nothing returns to Python, nothing is copied.

Where little is computed (one token of a 0.5B model: 8 ms), the way from operation to operation costs as much as they do.
A row's numbers depend on that row and on its own keys and values alone. Reference: `families.llama` with the plain layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from openbook.lm.kernels.block_products import BFLOAT16, INT4, INT8, Product
from openbook.lm.kernels.cache_keys import kept_as
from openbook.lm.kernels.decoder_rows import narrowed
from openbook.lm.kernels.int8_linear import COLUMNS
from openbook.lm.kernels.layer_attention import make_attention
from openbook.lm.kernels.layer_rows import CHUNK, make_rows
from openbook.lm.kernels.likeliest import highest
from openbook.lm.kernels.rows import INLINE

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "boundscheck": False}
_PARALLEL: dict[str, Any] = {**_OPTIONS, "parallel": True}
_f = np.float32


@njit(**INLINE)
def _narrow(source, target):
    for j in range(COLUMNS):
        target[j] = narrowed(source[j])


def make(kind: str, product: Product, wide: bool) -> Any:
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

    return kept_as(step, f"{kind} {'float32' if wide else 'bfloat16'}")


def make_heads(kind: str, product: Product) -> tuple[Any, Any]:
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
            part = np.empty((CHUNK, COLUMNS), np.float32)
            for row in range(0, M, CHUNK):
                rows = min(CHUNK, M - row)
                multiply(at, sides, column, E, ready, row, rows, part.ctypes.data, 4 * COLUMNS)
                for r in range(rows):
                    _narrow(part[r], out[row + r, column : column + COLUMNS])

    return kept_as(head, kind), kept_as(narrow_head, kind)


INT8_FLOAT32, INT8_BFLOAT16 = (make("int8", INT8, wide) for wide in (True, False))
BFLOAT16_FLOAT32, BFLOAT16_BFLOAT16 = (make("bfloat16", BFLOAT16, wide) for wide in (True, False))
INT4_FLOAT32, INT4_BFLOAT16 = (make("int4", INT4, wide) for wide in (True, False))
INT8_HEADS, BFLOAT16_HEADS, INT4_HEADS = (
    make_heads(kind, product) for kind, product in (("int8", INT8), ("bfloat16", BFLOAT16), ("int4", INT4))
)
