"""Keys and values in blocks of 16 tokens, in the order in which the fused kernels read them.

What `paged` is for the plain layers. Source: Kwon et al. 2023 (PagedAttention), https://arxiv.org/abs/2309.06180.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.batch import Batch, Run

BLOCK = 16


class PackedStorage:
    """(L, blocks, G, 16 D) keys and as many values, float32 or bfloat16; for the order see `kernels.cache_tiles`."""

    block_size = BLOCK

    def __init__(self, num_layers: int, num_blocks: int, num_kv_heads: int, head_dim: int, dtype: torch.dtype) -> None:
        shape = (num_layers, num_blocks, num_kv_heads, BLOCK * head_dim)
        self.k, self.v = (torch.zeros(shape, dtype=dtype) for _ in range(2))
        self.dtype = dtype

    def view(self, block_tables: Tensor) -> PackedCache:
        """block_tables: (S, max_blocks) int64, the blocks of each sequence in order."""
        return PackedCache(self, block_tables)

    def copy(self, source: int, target: int) -> None:
        """Block `target` becomes what block `source` is, in every layer."""
        self.k[:, target], self.v[:, target] = self.k[:, source], self.v[:, source]

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The same memory for numba, (L blocks, G, 16 D): float32, or the bits of bfloat16."""
        k, v = (one if self.dtype == torch.float32 else one.view(torch.uint16) for one in (self.k, self.v))
        return k.flatten(0, 1).numpy(), v.flatten(0, 1).numpy()


class PackedCache:
    """A batch's view of a `PackedStorage`. The fused kernels write and read for themselves; this is the plain way."""

    def __init__(self, storage: PackedStorage, block_tables: Tensor) -> None:
        self.storage, self.tables = storage, block_tables.numpy()

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        """Keeps k, v (N, G, D) of the batch's new tokens."""
        sequences = torch.repeat_interleave(torch.arange(len(batch.starts) - 1), batch.starts.diff())  # (N,)
        blocks = torch.from_numpy(self.tables.astype(np.int64))[sequences, batch.positions // BLOCK]  # (N,)
        place = batch.positions % BLOCK
        N, G, D = k.shape
        pair = self._pair
        keys = self.storage.k[layer].view(-1, G, D // pair, BLOCK, pair)
        keys[blocks, :, :, place] = k.to(self.storage.dtype).view(N, G, D // pair, pair)
        values = self.storage.v[layer].view(-1, G, BLOCK // pair, D, pair)
        values[blocks, :, place // pair, :, place % pair] = v.to(self.storage.dtype)

    @property
    def _pair(self) -> int:
        """How many numbers lie in a lane."""
        return 1 if self.storage.dtype == torch.float32 else 2

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, G, D) of the run's sequences."""
        blocks = -(-run.visible // BLOCK)
        table = torch.from_numpy(self.tables[run.sequence : run.sequence + run.sequences, :blocks].astype(np.int64))
        k, v = self.storage.k[layer][table], self.storage.v[layer][table]  # (B, blocks, G, 16 D)
        B, G, D = len(table), k.shape[2], k.shape[3] // BLOCK
        pair = self._pair
        keys = k.view(B, blocks, G, D // pair, BLOCK, pair).permute(0, 1, 4, 2, 3, 5)
        values = v.view(B, blocks, G, BLOCK // pair, D, pair).permute(0, 1, 3, 5, 2, 4)
        shape = (B, blocks * BLOCK, G, D)
        return keys.reshape(shape)[:, : run.visible], values.reshape(shape)[:, : run.visible]
