"""Carries out a `StepPlan`: one ragged forward pass over blocks of keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.lm.families.llama import Llama
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.packed_cache import PackedStorage
from openbook.lm.nn.paged import PagedStorage
from openbook.lm.quantization.fused_decoder import FusedDecoder
from openbook.serving.engine.plan import Piece, StepPlan

if TYPE_CHECKING:
    from openbook.serving.engine.adapters import Adapters

Storage = PagedStorage | PackedStorage


class Computed(NamedTuple):
    """`pieces` that wanted logits, in the order of their rows in `logits` (M, V), float32: `num_logits` rows each.

    `peaks`: (M, >= V / 64) the highest of each 64 logits, where the kernels have them.
    """

    pieces: list[Piece]
    logits: Tensor
    peaks: NDArray[np.float32] | None = None


class Runner:
    """A model and the memory of its cache. Knows nothing of requests."""

    def __init__(
        self, model: Family, num_blocks: int, block_size: int, kv_dtype: torch.dtype, adapters: Adapters | None = None
    ) -> None:
        self.model, self._adapters = model, adapters
        self._shape = num_blocks, block_size, kv_dtype
        self.storage: Storage = model.paged_storage(*self._shape)

    def sleep(self) -> None:
        """Gives back the memory of keys and values, and what the kernels keep from call to call."""
        self.storage = self.model.paged_storage(0, *self._shape[1:])
        if isinstance(self.model, Llama) and self.model.fused is not None:
            self.model.fused = FusedDecoder(self.model)

    def wake(self) -> None:
        """Takes it again; nothing is in it."""
        self.storage = self.model.paged_storage(*self._shape)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> Computed:
        """Logits in memory that the next call may write over."""
        for source, target in plan.copies:
            self.storage.copy(source, target)
        pieces = sorted(plan.pieces, key=lambda piece: (len(piece.tokens), piece.seen))  # equal lengths attend together
        tables = torch.from_numpy(_tables(pieces))
        device = self.model.device
        batch = Batch.of(
            [len(piece.tokens) for piece in pieces],
            cache=self.storage.view(tables.to(device)),
            seen=[piece.seen for piece in pieces],
            adapters=None if self._adapters is None else self._adapters.places([piece.adapter for piece in pieces]),
            device=device,
        )
        ids = torch.tensor([token for piece in pieces for token in piece.tokens], device=device)
        wanting = [piece for piece in pieces if piece.num_logits]
        if not wanting:
            self.model(ids, batch, rows=batch.starts[1:2] - 1, head="hidden")
            return Computed([], torch.empty(0))
        rows = torch.from_numpy(_rows(pieces)).to(device)
        logits = self.model(ids, batch, rows=rows).float()
        fused = self.model.fused if isinstance(self.model, Llama) else None
        return Computed(wanting, logits, None if fused is None else fused.peaks_of(logits))


def _tables(pieces: list[Piece]) -> NDArray[np.int64]:
    """(S, most) the blocks of each piece, and zeros behind them."""
    counts = np.array([len(piece.block_table) for piece in pieces])
    tables = np.zeros((len(pieces), counts.max()), np.int64)
    tables[np.arange(tables.shape[1]) < counts[:, None]] = [block for piece in pieces for block in piece.block_table]
    return tables


def _rows(pieces: list[Piece]) -> NDArray[np.int64]:
    """(M,) the places of the tokens whose logits are wanted, among all tokens of the batch."""
    ends = np.cumsum([len(piece.tokens) for piece in pieces])
    counts = np.array([piece.num_logits for piece in pieces])
    before = np.cumsum(counts)
    rows: NDArray[np.int64] = np.arange(before[-1]) + np.repeat(ends - before, counts)
    return rows
