"""A ragged model called the dense way: a rectangle of tokens in, a rectangle of logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.lm.nn.batch import Batch


def dense(model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None = None, *, causal: bool = True) -> Tensor:
    """input_ids: (B, T) int64; attention_mask: (B, T), 1 where a token is real, in one run a row -> (B, T, V).

    Rows of padding are zero: they are never computed. Padding may stand on either side.
    """
    is_real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    batch = Batch.of(is_real.sum(dim=1).tolist(), causal=causal)
    found = model(input_ids[is_real], batch)  # (N, V)
    out: Tensor = found.new_zeros(*input_ids.shape, found.shape[-1])
    out[is_real] = found
    return out
