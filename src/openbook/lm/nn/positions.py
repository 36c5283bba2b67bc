"""Positions that are learned: a row a place (GPT-2, BERT), or a bias a distance (T5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from openbook.lm.nn.batch import Batch


class LearnedPositions(nn.Module):
    """`weight` (P, E): a row for each place. `offset`: the row of place 0 (RoBERTa counts from `pad_token_id` + 1)."""

    def __init__(self, num_rows: int, hidden_size: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(num_rows, hidden_size))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        """(N, E). Raises ValueError for a sequence that is longer than there are places."""
        longest = max((run.visible for run in batch.runs), default=0)
        places = self.weight.shape[0] - self.offset
        if longest > places:
            raise ValueError(f"a sequence has {longest} tokens, the model has places for {places}: shorten it")
        return self.weight[batch.positions + self.offset]


class RelativePositions(nn.Module):
    """`weight` (B, H): what each head adds to a score, by the bucket of the distance from query to key.

    Half of the buckets (of each direction, where there are two) hold one distance each; the others grow with the logarithm up to
    `max_distance`, behind which all is one. Source: Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1.
    """

    def __init__(self, num_buckets: int, num_heads: int, max_distance: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.max_distance, self.bidirectional = max_distance, bidirectional
        self.weight = nn.Parameter(torch.empty(num_buckets, num_heads))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, T: int, K: int) -> Tensor:
        """(H, T, K), for the last T of K tokens."""
        device = self.weight.device
        distance = torch.arange(K, device=device) - torch.arange(K - T, K, device=device)[:, None]  # (T, K)
        return self.weight[self.buckets(distance)].permute(2, 0, 1)

    def buckets(self, distance: Tensor) -> Tensor:
        """Key's place - query's place -> its row of `weight`, int64."""
        count = self.weight.shape[0]
        first = torch.zeros_like(distance)
        if self.bidirectional:
            count //= 2
            first = (distance > 0).long() * count  # the second half looks ahead
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = count // 2
        far = torch.log(distance.clamp(min=exact).float() / exact) / math.log(self.max_distance / exact)
        coarse = (exact + (far * (count - exact)).long()).clamp(max=count - 1)
        return first + torch.where(distance < exact, distance, coarse)
