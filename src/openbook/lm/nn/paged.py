"""Keys and values in blocks that any sequence may own: memory is taken as sequences grow, and prefixes can be shared.

Source: Kwon et al. 2023 (PagedAttention), https://arxiv.org/abs/2309.06180. This is the storage and its plain reading; which
sequence owns which block is for the engine to say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.lm.nn.batch import Batch, Run


class PagedStorage:
    """(L, blocks, block_size, G, D) keys and as many values."""

    def __init__(
        self,
        num_layers: int,
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (num_layers, num_blocks, block_size, num_kv_heads, head_dim)
        self.block_size = block_size
        self.k, self.v = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))

    def view(self, block_tables: Tensor) -> PagedCache:
        """The `KvCache` of one batch. block_tables: (S, max_blocks) int64, the blocks of each sequence in order."""
        return PagedCache(self, block_tables)

    def copy(self, source: int, target: int) -> None:
        """Block `target` becomes what block `source` is, in every layer."""
        self.k[:, target], self.v[:, target] = self.k[:, source], self.v[:, source]


class PagedCache:
    """A batch's view of a `PagedStorage`: token p of sequence s lies in block `block_tables[s, p // size]`, place p % size."""

    def __init__(self, storage: PagedStorage, block_tables: Tensor) -> None:
        self.storage, self.block_tables = storage, block_tables
        self._slots: Tensor | None = None  # (N,) of the batch's new tokens, the same in every layer
        self.dtype = storage.k.dtype  # of what is computed, which may be wider than what is stored

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        if self._slots is None:
            self._slots, self.dtype = self._find_slots(batch), k.dtype
        self.storage.k[layer].flatten(0, 1)[self._slots] = k.to(self.storage.k.dtype)
        self.storage.v[layer].flatten(0, 1)[self._slots] = v.to(self.storage.v.dtype)

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        blocks = -(-run.visible // self.storage.block_size)
        table = self.block_tables[run.sequence : run.sequence + run.sequences, :blocks]  # (B, blocks)
        k, v = self.storage.k[layer][table], self.storage.v[layer][table]  # (B, blocks, block_size, G, D)
        return k.flatten(1, 2)[:, : run.visible].to(self.dtype), v.flatten(1, 2)[:, : run.visible].to(self.dtype)

    def _find_slots(self, batch: Batch) -> Tensor:
        size = self.storage.block_size
        lengths = batch.starts.diff()
        sequences = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)  # (N,)
        blocks = self.block_tables[sequences, batch.positions // size]
        return blocks * size + batch.positions % size
