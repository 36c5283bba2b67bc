"""Carries out a `StepPlan`: one ragged forward pass over blocks of keys and values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch
from openbook.serving.engine.plan import StepPlan


class Runner:
    """A model and the memory of its cache. Knows nothing of requests."""

    def __init__(self, model: Family, num_blocks: int, block_size: int, kv_dtype: torch.dtype) -> None:
        self.model = model
        self.storage = model.paged_storage(num_blocks, block_size, kv_dtype)

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> tuple[list[int], Tensor]:
        """(numbers of the pieces that want logits, their logits (S, V) float32)."""
        for source, target in plan.copies:
            self.storage.copy(source, target)
        pieces = sorted(plan.pieces, key=lambda piece: (len(piece.tokens), piece.seen))  # equal lengths attend together
        longest = max(len(piece.block_table) for piece in pieces)
        numbers = np.zeros((len(pieces), longest), np.int64)
        for row, piece in zip(numbers, pieces, strict=True):
            row[: len(piece.block_table)] = piece.block_table
        tables = torch.from_numpy(numbers)
        device = self.model.device
        batch = Batch.of(
            [len(piece.tokens) for piece in pieces],
            cache=self.storage.view(tables.to(device)),
            seen=[piece.seen for piece in pieces],
            device=device,
        )
        ids = torch.tensor([token for piece in pieces for token in piece.tokens], device=device)
        wanting = [place for place, piece in enumerate(pieces) if piece.wants_logits]
        if not wanting:
            self.model(ids, batch, rows=batch.starts[1:2] - 1, head="hidden")
            return [], torch.empty(0)
        rows = batch.starts[1:][torch.tensor(wanting, device=device)] - 1
        logits = self.model(ids, batch, rows=rows)
        return [pieces[place].number for place in wanting], logits.float()
