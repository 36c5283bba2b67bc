"""Self-attention over a ragged batch.

Multi-head, grouped-query and multi-query attention are one: H query heads share G key and value heads.
Sources: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245; Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
(the sliding window).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from openbook.lm.nn.attend import Probabilities, attend
from openbook.lm.nn.batch import Batch, Run
from openbook.lm.nn.linear import Linear, plus, rounded
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.nn.paged import PagedCache
from openbook.lm.nn.rope import Rotation, rotate

Biases = Mapping[tuple[int, int], Tensor]
"""(T, K) of a run -> (H, T, K), what is added to its scores."""


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V in every sequence of the batch by itself.

    `num_kv_heads` G divides `num_heads` H (None: as many); `head_dim` D need not be E / H. `window`: a token sees itself
    and the `window` - 1 before it. `qk_norm_eps`: queries and keys are normalised a head before they are turned (Qwen3).
    `scale` in place of 1 / sqrt(D). `layer`: its place in the cache. A hook on `probabilities` reads what `attend` says.
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
        scale: float | None = None,
        layer: int = 0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads or num_heads
        self.head_dim = head_dim or hidden_size // num_heads
        self.scale = self.head_dim**-0.5 if scale is None else scale
        self.window = window
        self.layer = layer
        sizes = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self.q = Linear(hidden_size, sizes[0], bias=bias)
        self.k = Linear(hidden_size, sizes[1], bias=bias)
        self.v = Linear(hidden_size, sizes[1], bias=bias)
        self.qkv: nn.Module | None = None  # the three in one, made by lm.quantization.prepare
        self.turn: Callable[[Tensor, Tensor, Rotation], tuple[Tensor, Tensor]] = turned  # likewise made faster by it
        self.attend: Callable[..., Tensor] = attend  # likewise
        self.out = Linear(sizes[0], hidden_size, bias=out_bias)
        self.q_norm = RmsNorm(self.head_dim, qk_norm_eps) if qk_norm_eps is not None else None
        self.k_norm = RmsNorm(self.head_dim, qk_norm_eps) if qk_norm_eps is not None else None
        self.probabilities = Probabilities()

    def forward(
        self,
        x: Tensor,
        batch: Batch,
        rotation: Rotation | None = None,
        biases: Biases | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """x: (N, E) -> (N, E); `residual` (N, E) is added to the result."""
        q, k, v = self._project(x)  # (N, H, D), (N, G, D), (N, G, D)
        if rotation is not None:
            q, k = self.turn(q, k, rotation)
        if batch.cache is not None:
            batch.cache.write(self.layer, batch, k, v)
        runs, mixed = batch.runs, []  # each (B T, H D)
        if isinstance(batch.cache, PagedCache) and biases is None and not self.probabilities.is_read:
            singles = batch.cache.attend_singles(self.layer, q, batch, self.scale, self.window)
            if singles is not None:
                mixed, runs = [singles], [run for run in runs if run.start >= len(singles)]
        if (
            batch.cache is None
        ):  # `split` has one gradient for all runs; a slice would have one as long as the batch each
            sizes = [run.sequences * run.length for run in runs]
            each = zip(runs, *(torch.split(one, sizes) for one in (q, k, v)), strict=True)
            mixed += [self._attended(run, of_q, of_k, of_v, batch, biases) for run, of_q, of_k, of_v in each]
        else:
            for run in runs:
                own = q[run.start : run.start + run.sequences * run.length]
                mixed.append(self._attended(run, own, *batch.cache.read(self.layer, run), batch, biases))
        joined = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        return self.out(joined) if residual is None else plus(self.out, joined, residual)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        if self.qkv is None:
            x = rounded(x)
            parts = [self.q(x), self.k(x), self.v(x)]
        else:
            parts = list(self.qkv(x).split([count * self.head_dim for count in heads], dim=-1))
        q, k, v = (part.unflatten(-1, (count, self.head_dim)) for part, count in zip(parts, heads, strict=True))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def _attended(self, run: Run, q: Tensor, k: Tensor, v: Tensor, batch: Batch, biases: Biases | None) -> Tensor:
        """(B T, H D) of B sequences of T new tokens, the last of K. q: (B T, H, D), k, v: (B K, G, D) or (B, K, G, D)."""
        B, T, K = run.sequences, run.length, run.visible
        mixed = self.attend(
            q.view(B, T, *q.shape[1:]),
            k.view(B, K, *k.shape[-2:]),
            v.view(B, K, *v.shape[-2:]),
            self.probabilities,
            scale=self.scale,
            causal=batch.causal,
            window=self.window,
            bias=None if biases is None else biases[T, K],
        )
        return mixed.flatten(2).flatten(0, 1)


def turned(q: Tensor, k: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
    """q: (N, H, D), k: (N, G, D) -> the same, turned by the angles of their tokens."""
    return rotate(q, rotation), rotate(k, rotation)
