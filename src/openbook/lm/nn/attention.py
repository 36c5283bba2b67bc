"""Self-attention over a ragged batch: a fast path, and a plain path whose probabilities a hook can read.

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.nn.batch import Batch, Run
from openbook.lm.nn.linear import Linear


class Probabilities(nn.Module):
    """softmax over the keys. A forward hook on this module sees (B, H, T, T) for every run of equal lengths."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V in every sequence of the batch by itself.

    The plain path is taken while a hook sits on `probabilities`, the fused one otherwise; they agree to rounding.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = Linear(hidden_size, hidden_size)
        self.k = Linear(hidden_size, hidden_size)
        self.v = Linear(hidden_size, hidden_size)
        self.qkv: nn.Module | None = None  # the three in one, made by lm.quantization.prepare
        self.out = Linear(hidden_size, hidden_size)
        self.probabilities = Probabilities()

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """x: (N, E) -> (N, E)."""
        qkv = self.qkv(x) if self.qkv else torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)  # (N, 3E)
        mixed = torch.empty_like(x)  # (N, E)
        for run in batch.runs():
            rows = slice(run.start, run.start + run.sequences * run.length)
            mixed[rows] = self._attend(qkv[rows], run, batch.causal)
        return self.out(mixed)  # type: ignore[no-any-return]

    def _attend(self, qkv: Tensor, run: Run, causal: bool) -> Tensor:
        """qkv: (B * T, 3E) -> (B * T, E)."""
        B, T, H = run.sequences, run.length, self.num_heads
        q, k, v = qkv.view(B, T, 3, H, -1).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if self.probabilities._forward_hooks or self.probabilities._forward_pre_hooks:
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, T)
            if causal:
                hidden = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
                scores = scores.masked_fill(hidden, float("-inf"))
            mixed = self.probabilities(scores) @ v  # (B, H, T, D)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        joined: Tensor = mixed.transpose(1, 2).reshape(B * T, -1)
        return joined
