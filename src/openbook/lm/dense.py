"""A ragged model called the dense way: a rectangle of tokens in, a rectangle of logits out."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch


def dense(
    model: Family,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    decoder_input_ids: Tensor | None = None,
    decoder_attention_mask: Tensor | None = None,
) -> Tensor:
    """input_ids: (B, T) int64; attention_mask: (B, T), 1 where a token is real, in one run a row.

    Returns what the family says of each token: logits (B, T, V) of a decoder or a masked LM, hidden states (B, T, E) of a bare
    encoder, label scores (B, T, labels) of one that judges tokens, (B, labels) of one that judges sentences; of an
    encoder-decoder logits (B, T', V) for `decoder_input_ids` (B, T'). Rows of padding are zero: they are never computed. Padding
    may stand on either side. Raises ValueError for a row without a real token.
    """
    is_real, batch = _batch(input_ids, attention_mask, causal=model.causal)
    if decoder_input_ids is not None:
        is_written, decoder_batch = _batch(decoder_input_ids, decoder_attention_mask, causal=True)
        written = decoder_input_ids[is_written]
        logits = model(input_ids[is_real], batch, decoder_input_ids=written, decoder_batch=decoder_batch)
        return _rectangle(logits, is_written)
    found: Tensor = model(input_ids[is_real], batch, head="hidden" if model.head_over == "nothing" else "logits")
    return found if model.head_over == "sequences" else _rectangle(found, is_real)


def _batch(input_ids: Tensor, mask: Tensor | None, *, causal: bool) -> tuple[Tensor, Batch]:
    is_real = torch.ones_like(input_ids, dtype=torch.bool) if mask is None else mask.bool()
    return is_real, Batch.of(is_real.sum(dim=1).tolist(), causal=causal, device=input_ids.device)


def _rectangle(found: Tensor, is_real: Tensor) -> Tensor:
    """found: (N, ...) -> (B, T, ...), zero where nothing is real."""
    out = found.new_zeros(*is_real.shape, *found.shape[1:])
    out[is_real] = found
    return out
