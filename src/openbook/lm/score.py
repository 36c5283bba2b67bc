"""Log-probabilities of tokens: the one implementation, for training, perplexity, rewards and evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.lm.nn.batch import Batch

CHUNK_ROWS = 1_024
"""Rows of logits that are in memory at a time: (1,024, V) instead of (N, V)."""


def token_logprobs(model: nn.Module, input_ids: Tensor, batch: Batch) -> Tensor:
    """(N,) float32: log p(token | those before it in its sequence); 0 for the first of each, which nothing predicts."""
    is_last = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    is_last[batch.starts[1:] - 1] = True
    rows = (~is_last).nonzero()[:, 0]  # (M,) tokens that predict the next one
    targets = input_ids[rows + 1]

    def score(hidden: Tensor, lm_head: nn.Module | None) -> Tensor:
        """hidden: (M, E) -> (M,)"""
        assert lm_head is not None, "a model without a head over the vocabulary predicts no token"
        pieces = zip(torch.split(hidden, CHUNK_ROWS), torch.split(targets, CHUNK_ROWS), strict=True)
        return torch.cat([_chosen(lm_head(piece), wanted) for piece, wanted in pieces])

    found = torch.zeros(len(input_ids), dtype=torch.float32, device=input_ids.device)
    if len(rows):
        found[rows + 1] = model(input_ids, batch, rows=rows, head=score)
    return found


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """logits: (M, V), in float32 whatever the model's dtype -> (M,)"""
    wide = logits.float()
    return wide.gather(1, targets[:, None])[:, 0] - wide.logsumexp(dim=1)
