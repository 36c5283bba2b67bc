"""Self-attention over a ragged batch: a fast path, and a plain path whose probabilities a hook can read.

Multi-head, grouped-query and multi-query attention are one: H query heads share G key and value heads.
Sources: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, equation 1; Ainslie et al. 2023,
https://arxiv.org/abs/2305.13245; Beltagy et al. 2020, https://arxiv.org/abs/2004.05150 (the sliding window).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.nn.batch import Batch, Run
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.rope import Rotation, rotate


class Probabilities(nn.Module):
    """softmax over the keys. A forward hook on this module sees (B, H, T, K) for every run of equal lengths."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V in every sequence of the batch by itself.

    `num_kv_heads` G divides `num_heads` H (None: as many); `head_dim` D need not be E / H. `window`: a token sees itself
    and the `window` - 1 before it. `qk_norm_eps`: queries and keys are normalised a head before they are turned (Qwen3).
    `layer`: its place in the cache. The plain path is taken while a hook sits on `probabilities`, the fused one
    otherwise; they agree to rounding.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        *,
        bias: bool = True,
        out_bias: bool = True,
        window: int | None = None,
        qk_norm_eps: float | None = None,
        layer: int = 0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads or num_heads
        self.head_dim = head_dim or hidden_size // num_heads
        self.window = window
        self.layer = layer
        sizes = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self.q = Linear(hidden_size, sizes[0], bias=bias)
        self.k = Linear(hidden_size, sizes[1], bias=bias)
        self.v = Linear(hidden_size, sizes[1], bias=bias)
        self.qkv: nn.Module | None = None  # the three in one, made by lm.quantization.prepare
        self.out = Linear(sizes[0], hidden_size, bias=out_bias)
        self.q_norm = RmsNorm(self.head_dim, qk_norm_eps) if qk_norm_eps is not None else None
        self.k_norm = RmsNorm(self.head_dim, qk_norm_eps) if qk_norm_eps is not None else None
        self.probabilities = Probabilities()

    def forward(self, x: Tensor, batch: Batch, rotation: Rotation | None = None) -> Tensor:
        """x: (N, E) -> (N, E)."""
        q, k, v = self._project(x)  # (N, H, D), (N, G, D), (N, G, D)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if batch.cache is not None:
            batch.cache.write(self.layer, batch, k, v)
        mixed = [self._run(q, k, v, run, batch) for run in batch.runs]  # each (B T, H D)
        return self.out(mixed[0] if len(mixed) == 1 else torch.cat(mixed))  # type: ignore[no-any-return]

    def _run(self, q: Tensor, k: Tensor, v: Tensor, run: Run, batch: Batch) -> Tensor:
        """(B T, H D) of B sequences of T new tokens."""
        B, T = run.sequences, run.length
        rows = slice(run.start, run.start + B * T)
        if batch.cache is None:
            keys, values = k[rows].view(B, T, *k.shape[1:]), v[rows].view(B, T, *v.shape[1:])
        else:
            keys, values = batch.cache.read(self.layer, run)  # each (B, K, G, D)
        return self._attend(q[rows].view(B, T, *q.shape[1:]), keys, values, batch.causal).flatten(2).flatten(0, 1)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        if self.qkv is None:
            parts = [self.q(x), self.k(x), self.v(x)]
        else:
            parts = list(self.qkv(x).split([count * self.head_dim for count in heads], dim=-1))
        q, k, v = (part.unflatten(-1, (count, self.head_dim)) for part, count in zip(parts, heads, strict=True))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        """q: (B, T, H, D), the last T of K tokens; k, v: (B, K, G, D) -> (B, T, H, D)."""
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))  # (B, H, T, D), (B, G, K, D)
        T, K = q.shape[2], k.shape[2]
        is_triangle = causal and T == K and (self.window is None or self.window >= K)  # what `is_causal` means
        if self.probabilities._forward_hooks or self.probabilities._forward_pre_hooks:
            k, v = (one.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1) for one in (k, v))
            scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)  # (B, H, T, K)
            mask = self._mask(T, K, causal, q.device)
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            mixed = self.probabilities(scores) @ v
        else:
            mixed = F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=None if is_triangle else self._mask(T, K, causal, q.device),
                is_causal=is_triangle,
                enable_gqa=self.num_heads != self.num_kv_heads,
            )
        found: Tensor = mixed.transpose(1, 2)
        return found

    def _mask(self, T: int, K: int, causal: bool, device: torch.device) -> Tensor | None:
        """(T, K) True where the query may look; None when it may look everywhere."""
        if not causal or (T == 1 and (self.window is None or self.window >= K)):
            return None
        behind = torch.arange(K - T, K, device=device)[:, None] - torch.arange(K, device=device)  # (T, K) how far back
        return (behind >= 0) if self.window is None else (behind >= 0) & (behind < self.window)
