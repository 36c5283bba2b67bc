"""First weights with which a small decoder learns to copy in minutes: heads that look back, heads that compare like with like.

From weights that are all random, a model of this size spent half an hour without learning which of three values was asked for.
Here the heads of the first layer begin by looking one, two, three, four tokens back and write what they see in one common space:
each token carries a sum of its last neighbours. Two heads of the second layer do the same farther back. All other heads begin
with keys made as queries are, so that tokens with like neighbours find each other, and with an output that turns the value's map
round, so that they pass on what they see. Which of it is of use, and how, is learned.

Source: Trockman and Kolter 2023, Mimetic initialization of self-attention layers, https://arxiv.org/abs/2305.09828 (like keys
and queries, outputs that undo values; there by the products' diagonals). The looking back is ours, through the biases of queries
and keys: a family without them (Llama) cannot have it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.lm.nn.attention import Attention

TOKENS = 0.12
"""Deviation of the table of tokens. It is also the head: larger, and the first answers are sure and wrong."""
PASSED_ON = 0.3
LIKENESS = 0.14
"""Deviation of queries and keys: half of the neighbours alike gives a score of about 5, which stands out of 1,000 tokens."""
OTHER_QUERIES = 0.02
"""The same where a head looks back whatever stands there."""
TURNING_PAIRS = 6
"""The fastest of a head's pairs tell neighbours apart: the next best place scores 2 to 4 less."""
CALM = 2e-3
"""Radians a token. Slower pairs turn little within a prompt, so that likeness does not depend on the distance."""
RESTLESS = 0.2
"""What is left of a query in the faster pairs."""


class LookBack(NamedTuple):
    """The first heads of a layer look `back` tokens back. `bias`: how sharply. `gain`: how much of a neighbour is written."""

    back: tuple[int, ...]
    bias: float
    gain: float


LOOK_BACK = {0: LookBack((1, 2, 3, 4), 6.0, 0.15), 1: LookBack((6, 8), 5.0, 0.3)}
"""A layer's. The number in the last line of a passage is six tokens behind its last word."""


def begin_to_copy(tokens: Tensor, layers: list[Attention], rope_theta: float, seed: int = 0) -> None:
    """Fills, in place, the table of tokens (V, E) and the attention of each layer (as many key heads as query heads)."""
    random = torch.Generator().manual_seed(seed)
    D, E = layers[0].head_dim, tokens.shape[1]
    speeds = rope_theta ** (-torch.arange(D // 2) / (D // 2))  # (D / 2,) radians a token
    common = nn.init.orthogonal_(torch.empty(D, E), generator=random)
    with torch.no_grad():
        tokens.normal_(0.0, TOKENS, generator=random)
        for number, layer in enumerate(layers):
            look = LOOK_BACK.get(number, LookBack((), 0.0, 0.0))
            for head in range(layer.num_heads):
                if head < len(look.back):
                    _look_back(_Head.of(layer, head), look.back[head], look, speeds, common, random)
                else:
                    _compare(_Head.of(layer, head), speeds, random)


class _Head(NamedTuple):
    """What one head owns of a layer: views that write through. q, k, v: (D, E); out: (E, D); the biases (D,)."""

    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    q_bias: Tensor
    k_bias: Tensor

    @classmethod
    def of(cls, layer: Attention, head: int) -> _Head:
        rows = slice(head * layer.head_dim, (head + 1) * layer.head_dim)
        q_bias, k_bias = layer.q.bias, layer.k.bias
        assert q_bias is not None and k_bias is not None, "a family with biases"
        weights = layer.q.weight[rows], layer.k.weight[rows], layer.v.weight[rows]
        return cls(*weights, layer.out.weight[:, rows], q_bias[rows].zero_(), k_bias[rows].zero_())


def _look_back(head: _Head, back: int, look: LookBack, speeds: Tensor, common: Tensor, random: torch.Generator) -> None:
    """`common` (D, E): what all such heads read and write."""
    head.v.copy_(common)
    head.out.copy_(look.gain * common.T)
    head.q.normal_(0.0, OTHER_QUERIES, generator=random)
    head.k.normal_(0.0, OTHER_QUERIES, generator=random)
    angles, half = back * speeds[:TURNING_PAIRS], len(speeds)
    head.k_bias[:TURNING_PAIRS] = look.bias
    head.q_bias[:TURNING_PAIRS] = look.bias * angles.cos()  # the key, turned back by so many tokens
    head.q_bias[half : half + TURNING_PAIRS] = -look.bias * angles.sin()


def _compare(head: _Head, speeds: Tensor, random: torch.Generator) -> None:
    calm = torch.where(speeds < CALM, 1.0, RESTLESS).repeat(2)[:, None]  # (D, 1)
    asked = torch.empty_like(head.q).normal_(0.0, LIKENESS, generator=random) * calm
    seen = nn.init.orthogonal_(torch.empty_like(head.v), generator=random)  # (D, E)
    head.q.copy_(asked)
    head.k.copy_(asked)
    head.v.copy_(seen)
    head.out.copy_(PASSED_ON * seen.T)
