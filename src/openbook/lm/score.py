"""Log-probabilities of tokens: the one implementation, for training, perplexity, rewards and evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.lm.families.base import Family
from openbook.lm.families.t5 import T5
from openbook.lm.nn.batch import Batch

CHUNK_ROWS = 1_024
"""Rows of logits that are in memory at a time: (1,024, V) instead of (N, V)."""


def token_logprobs(model: Family, input_ids: Tensor, batch: Batch) -> Tensor:
    """(N,) float32: log p(token | those before it in its sequence); 0 for the first of each, which nothing predicts.

    Raises ValueError for an encoder, which predicts no next token; `target_logprobs` is for encoder-decoders.
    """
    if not model.causal:
        raise ValueError(
            f"a {model.config.model_type} model predicts no next token: use a decoder, or target_logprobs for T5"
        )
    is_last = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    is_last[batch.starts[1:] - 1] = True
    rows = (~is_last).nonzero()[:, 0]  # (M,) tokens that predict the next one
    found = torch.zeros(len(input_ids), dtype=torch.float32, device=input_ids.device)
    if len(rows):
        found[rows + 1] = model(input_ids, batch, rows=rows, head=_Score(input_ids[rows + 1]))
    return found


def target_logprobs(model: T5, input_ids: Tensor, batch: Batch, targets: Tensor, target_batch: Batch) -> Tensor:
    """(N,) float32: log p(target | what the encoder has read, the targets before it), for the N `targets` laid end to end.

    The decoder reads its start token and all targets but the last; `target_batch` has their lengths.
    """
    shifted = targets.roll(1)
    shifted[target_batch.starts[:-1]] = model.config.start_id
    found: Tensor = model(input_ids, batch, decoder_input_ids=shifted, decoder_batch=target_batch, head=_Score(targets))
    return found


class _Score:
    """A head: log p(targets) of hidden rows, with a chunk of the logits in memory at a time."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __call__(self, hidden: Tensor, lm_head: nn.Module | None) -> Tensor:
        """hidden: (M, E) -> (M,)"""
        assert lm_head is not None, "a model without a head over the vocabulary predicts no token"
        pieces = zip(torch.split(hidden, CHUNK_ROWS), torch.split(self.targets, CHUNK_ROWS), strict=True)
        return torch.cat([_chosen(lm_head(piece), wanted) for piece, wanted in pieces])


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """logits: (M, V), in float32 whatever the model's dtype -> (M,)"""
    wide = logits.float()
    return wide.gather(1, targets[:, None])[:, 0] - wide.logsumexp(dim=1)
