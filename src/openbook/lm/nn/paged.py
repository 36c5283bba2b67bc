"""Keys and values in blocks that any sequence may own: memory is taken as sequences grow, and prefixes can be shared.

Source: Kwon et al. 2023 (PagedAttention), https://arxiv.org/abs/2309.06180. This is the storage and its plain reading; which
sequence owns which block is for the engine to say.
"""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.batch import Batch, Run

_NO_WINDOW = 1 << 40


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
        self._singles: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None  # their tables and lengths, likewise
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

    def attend_singles(self, layer: int, q: Tensor, batch: Batch, scale: float, window: int | None) -> Tensor | None:
        """(n, H D): what the first n sequences of the batch see, which have one new token each; None when there are none, or
        the storage is not in the memory of the processor. q: (N, H, D).
        """
        if q.device.type != "cpu" or self.storage.k.dtype not in (torch.float32, torch.bfloat16) or q.requires_grad:
            return None
        if self._singles is None:
            count = sum(run.sequences for run in takewhile(lambda run: run.length == 1, batch.runs))
            lengths = torch.tensor([run.visible for run in batch.runs for _ in range(run.sequences)][:count])
            self._singles = self.block_tables[:count].contiguous().numpy(), lengths.numpy()
        tables, lengths_seen = self._singles
        if not len(tables):
            return None
        from openbook.lm.kernels import paged_attention as kernels

        is_wide = self.storage.k.dtype == torch.float32
        kernel = kernels.paged_attention_float32 if is_wide else kernels.paged_attention_bfloat16
        k, v = (_array(one[layer]) for one in (self.storage.k, self.storage.v))
        queries = q[: len(tables)].detach().float().contiguous()
        out = torch.empty_like(queries)
        most = window if window is not None else _NO_WINDOW
        kernel(queries.numpy(), k, v, tables, lengths_seen, np.float32(scale), most, out.numpy())
        return out.flatten(1).to(q.dtype)

    def _find_slots(self, batch: Batch) -> Tensor:
        size = self.storage.block_size
        lengths = batch.starts.diff()
        sequences = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)  # (N,)
        blocks = self.block_tables[sequences, batch.positions // size]
        return blocks * size + batch.positions % size


def _array(tensor: Tensor) -> NDArray[np.float32] | NDArray[np.uint16]:
    """The same memory for numba: float32, or the bits of bfloat16."""
    return tensor.numpy() if tensor.dtype == torch.float32 else tensor.view(torch.uint16).numpy()
