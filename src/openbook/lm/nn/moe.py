"""A mixture of experts: a router sends each token to k of X gated networks and adds up what they say.

Sources: Shazeer et al. 2017, https://arxiv.org/abs/1701.06538, equations 1 to 5 (without noise); Jiang et al. 2024
(Mixtral), https://arxiv.org/abs/2401.04088, section 2.1; Qwen1.5-MoE (the shared expert and its gate).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

from openbook.lm.nn.activation import Activation
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import GatedMlp, activate


class Experts(nn.Module):
    """X gated networks: `gate` and `up` (X, I, E), `down` (X, E, I)."""

    def __init__(self, count: int, hidden_size: int, intermediate_size: int, activation: Activation) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.gate = nn.Parameter(torch.empty(count, intermediate_size, hidden_size))
        self.up = nn.Parameter(torch.empty(count, intermediate_size, hidden_size))
        self.down = nn.Parameter(torch.empty(count, hidden_size, intermediate_size))
        for weight in (self.gate, self.up, self.down):
            nn.init.normal_(weight, std=0.02)

    def forward(self, x: Tensor, counts: list[int]) -> Tensor:
        """x: (R, E), the rows of expert 0, then those of expert 1, ..., `counts` of each -> (R, E)."""
        weights = zip(self.gate.unbind(), self.up.unbind(), self.down.unbind(), strict=True)
        found = [
            F.linear(activate(F.linear(rows, gate), self.activation) * F.linear(rows, up), down)
            for rows, (gate, up, down) in zip(torch.split(x, counts), weights, strict=True)
            if len(rows)
        ]
        return torch.cat(found)


class Moe(nn.Module):
    """sum over the k likeliest experts of p_i expert_i(x), with p = softmax(router(x)).

    `is_normalised`: the k probabilities are divided by their sum. `shared_size`: the width of an expert that sees every
    token, weighed by a sigmoid gate of its own; 0 for none. A forward hook on `router` reads the logits (N, X) that the
    balance loss needs.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        num_experts: int,
        top_k: int,
        activation: Activation,
        *,
        is_normalised: bool,
        shared_size: int = 0,
    ) -> None:
        super().__init__()
        self.num_experts, self.top_k, self.is_normalised = num_experts, top_k, is_normalised
        self.router = Linear(hidden_size, num_experts, bias=False)
        self.experts = Experts(num_experts, hidden_size, intermediate_size, activation)
        self.shared = GatedMlp(hidden_size, shared_size, activation) if shared_size else None
        self.shared_gate = Linear(hidden_size, 1, bias=False) if shared_size else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, E) -> (N, E). Tokens are grouped by expert: each expert runs once, over its tokens alone."""
        shares, chosen = self.route(x)  # (N, k), (N, k)
        order = chosen.flatten().argsort(stable=True)  # (N k) pairs of token and expert, by expert
        tokens = order // self.top_k
        rows = self.experts(x[tokens], self._counts(chosen))  # (N k, E)
        rows = rows * shares.flatten()[order, None]
        out = torch.zeros_like(x).index_add(0, tokens, rows)
        if self.shared is not None and self.shared_gate is not None:
            out = out + self.shared_gate(x).sigmoid() * self.shared(x)
        return out

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, E) -> weights (N, k) in its dtype, and experts (N, k), the likeliest first. The softmax is in float32."""
        shares, chosen = self.router(x).float().softmax(dim=-1).topk(self.top_k, dim=-1)
        if self.is_normalised:
            shares = shares / shares.sum(dim=-1, keepdim=True)
        return shares.to(x.dtype), chosen

    def _counts(self, chosen: Tensor) -> list[int]:
        """Tokens of each expert. Of a tensor without numbers (`lm.memory`): as if they were spread evenly."""
        if chosen.is_meta or isinstance(chosen, FakeTensor):
            return [(chosen.numel() + place) // self.num_experts for place in range(self.num_experts)]
        counts: list[int] = chosen.flatten().bincount(minlength=self.num_experts).tolist()
        return counts
