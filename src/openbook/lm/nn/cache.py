"""Keys and values of the tokens read so far: contiguous storage, one row a sequence."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from openbook.lm.nn.batch import Batch, Run


class KvCache(Protocol):
    """What attention asks of any storage, contiguous or paged."""

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        """Keeps k, v (N, G, D) of the batch's new tokens."""
        ...

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, G, D) of the run's sequences, those of the new tokens last."""
        ...


class ContiguousCache:
    """(L, S, M, G, D) keys and as many values, for S sequences of up to M tokens that grow in step with each other."""

    def __init__(
        self,
        num_layers: int,
        sequences: int,
        max_seq_len: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (num_layers, sequences, max_seq_len, num_kv_heads, head_dim)
        self._k, self._v = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        rows = torch.arange(len(batch.starts) - 1, device=batch.starts.device)
        sequences = torch.repeat_interleave(rows, batch.starts.diff(), output_size=len(batch.positions))  # (N,)
        self._k[layer, sequences, batch.positions] = k
        self._v[layer, sequences, batch.positions] = v

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        rows = slice(run.sequence, run.sequence + run.sequences)
        return self._k[layer, rows, : run.visible], self._v[layer, rows, : run.visible]
