"""The cross-entropy of a language model without its logits: a chunk of rows at a time, gradients included."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openbook.lm.nn.linear import Linear

CHUNK_BYTES = 32 * 2**20
"""Of float32 logits that are in memory at a time, unless `LEAST_ROWS` are more."""
LEAST_ROWS = 256
"""Of a chunk where the head is learned: each chunk is added to the gradient of the whole table, which takes longer than the
products of a few rows (151,936 tokens, 896 wide: in chunks of 55 rows the loss took five times as long as its products alone)."""
IGNORED = -100


@dataclass(frozen=True)
class LossSum:
    """A sum, never a mean: the loop divides by the weight of the whole step, over all micro-batches and ranks.

    total: () float32, with gradients. weight: what it is divided by (tokens, pairs, ...). metrics: name -> (sum, weight), which
    are added up and divided likewise.
    """

    total: Tensor
    weight: float
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def cross_entropy_sum(hidden: Tensor, head: nn.Module | None, targets: Tensor) -> Tensor:
    """sum over rows of -log softmax(head(hidden))[target], () float32.

    hidden: (M, E), targets: (M,) int64. To be given to a model as its head:
    `model(ids, batch, rows=rows, head=partial(cross_entropy_sum, targets=...))`. With a plain `Linear` the gradients of hidden
    and weights are computed beside the loss, so that the logits of a row exist once and never all; another head (one with an
    adapter) is computed again in the backward pass. Source: Wijmans et al. 2024, https://arxiv.org/abs/2411.09009, section 4.
    """
    if head is None:
        raise ValueError("the model has no head that makes logits of tokens")
    if type(head) is Linear and head.bias is None:
        found: Tensor = _CrossEntropySum.apply(hidden, head.weight, targets)  # type: ignore[no-untyped-call]
        return found
    total = hidden.new_zeros((), dtype=torch.float32)
    for own, wanted in zip(*_chunks(hidden, targets, _vocabulary(head)), strict=True):
        total = total + checkpoint(_plain, own, head, wanted, use_reentrant=False)
    return total


def _plain(hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="sum")


def _vocabulary(head: nn.Module) -> int:
    return max((one.shape[0] for one in head.parameters() if one.ndim == 2), default=2**16)


def _chunks(
    hidden: Tensor, targets: Tensor, vocabulary: int, least: int = 16
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    rows = max(CHUNK_BYTES // (4 * vocabulary), least)
    size = math.ceil(len(targets) / max(round(len(targets) / rows), 1)) or 1  # alike: no small one is left over
    return torch.split(hidden, size), torch.split(targets, size)


class _CrossEntropySum(torch.autograd.Function):
    """Gradients are those of a sum, so that what comes back is one factor for all of them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        with torch.autocast(hidden.device.type, enabled=False):
            table = weight.to(dtype)
            by_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            is_learned, by_weight = ctx.needs_input_grad[1], None
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            begin = 0
            for own, wanted in zip(
                *_chunks(hidden, targets, len(weight), LEAST_ROWS if is_learned else 64), strict=True
            ):
                rows = own.to(dtype)
                logits = (rows @ table.t()).float()  # (m, V)
                known = logits.gather(1, wanted[:, None])[:, 0]
                high = logits.amax(dim=1, keepdim=True)
                shares = logits.sub_(high).exp_()
                sums = shares.sum(dim=1, keepdim=True)
                total += (sums.log() + high)[:, 0].sum() - known.sum()
                if by_hidden is not None or is_learned:
                    shares.div_(sums)
                    shares.scatter_add_(1, wanted[:, None], shares.new_full((len(wanted), 1), -1.0))
                    gradient = shares.to(dtype)
                    if by_hidden is not None:
                        by_hidden[begin : begin + len(own)] = (gradient @ table).to(hidden.dtype)
                    if is_learned:
                        added = gradient.t() @ rows  # (V, E)
                        by_weight = added.float() if by_weight is None else by_weight.add_(added)
                begin += len(own)
        ctx.gradients = by_hidden, by_weight
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this cross-entropy are gone: backward() is called once")
        by_hidden, by_weight = ctx.gradients
        ctx.gradients = None  # they are scaled in place: a table of tokens is large
        return (
            None if by_hidden is None else by_hidden.mul_(upstream),
            None if by_weight is None else by_weight.mul_(upstream).to(ctx.weight_dtype),
            None,
        )
