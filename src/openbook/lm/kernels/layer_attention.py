# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""What a layer of a decoder does with positions and the cache: queries and keys turned, keys and values stored, attention.

For `decoder_step`. Order of the cache: see `cache_tiles`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit, prange

from openbook.lm.kernels import block_attention
from openbook.lm.kernels.cache_tiles import BLOCK
from openbook.lm.kernels.layer_rows import FEW, PARALLEL, PART, normalise
from openbook.lm.kernels.rows import INLINE


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


class Attention(NamedTuple):
    """Parts of a layer that know positions and the cache."""

    placed: Any
    attended: Any


def make_attention(wide: bool) -> Attention:
    """`wide`: keys and values in float32, else in bfloat16."""
    attend, store, clear_behind = block_attention.FLOAT32 if wide else block_attention.BFLOAT16

    @njit(**PART)
    def place(row, qkv, cos, sin, shape, norms, eps, blocks, first_block, slot, k, v):
        """blocks: of the row's sequence; slot: its position."""
        H, G, D, _ = shape
        own = qkv[row]
        for h in range(H + G):
            head = own[h * D : (h + 1) * D]
            if norms.shape[1] > 0:
                normalise(head, norms[0] if h < H else norms[1], eps, head)
            _turn(head, cos[row], sin[row])
        block = first_block + blocks[slot // BLOCK]
        for g in range(G):
            key, value = own[(H + g) * D : (H + g + 1) * D], own[(H + G + g) * D : (H + G + g + 1) * D]
            store(key, value, k[block, g], v[block, g], slot % BLOCK, D)

    @njit(**PARALLEL)
    def placed(N, qkv, cos, sin, shape, norms, eps, positions, sequences, last, tables, first_block, k, v):
        """Queries and keys turned, keys and values stored. norms: (2, D), or (2, 0) for none."""
        if N < FEW:
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

    @njit(**PARALLEL)
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
