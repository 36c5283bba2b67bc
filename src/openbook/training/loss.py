"""The cross-entropy of a language model without its logits: a chunk of rows at a time, gradients included."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openbook.lm.nn.linear import Linear

CHUNK_BYTES = 32 * 2**20
"""Of float32 logits that are in memory at a time."""
GROUP_BYTES, LEAST_ROWS = 128 * 2**20, 256
"""Of logits in the format of the products, which are a few large ones: each group is added to the gradient of the whole table,
which takes longer than the products of a few rows (151,936 tokens, 896 wide: in groups of 55 rows the loss took five times as
long as its products alone). A group has `LEAST_ROWS` at least."""
_PART_ROWS = 32_768
"""Of the table of tokens whose gradient is computed at a time."""
IGNORED = -100
IntoGradient = Callable[[Tensor, slice, bool], Tensor]
"""(logits (m, V), which of all rows they are, whether gradients are wanted) -> their loss, () float32. Where they are, the logits
become the gradient of that loss, in place."""


@dataclass(frozen=True)
class LossSum:
    """A sum, never a mean: the loop divides by the weight of the whole step, over all micro-batches and ranks.

    total: () float32, with gradients. weight: what it is divided by (tokens, pairs, ...). metrics: name -> (sum, weight), which
    are added up and divided likewise. most: name -> a number of which the largest of the step is told.
    """

    total: Tensor
    weight: float
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)


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
        return logits_sum(
            hidden, head.weight, lambda logits, some, needs: _to_gradient(logits, targets[some], needs_gradient=needs)
        )
    total = hidden.new_zeros((), dtype=torch.float32)
    for own, wanted in zip(*_chunks(hidden, targets, _vocabulary(head)), strict=True):
        total = total + checkpoint(_plain, own, head, wanted, use_reentrant=False)
    return total


def logits_sum(hidden: Tensor, weight: Tensor, into_gradient: IntoGradient) -> Tensor:
    """A loss of logits = hidden weight^T, () float32, of which a group of rows is in memory at a time. hidden: (M, E), weight:
    (V, E). backward() is called once.
    """
    found: Tensor = _LogitsSum.apply(hidden, weight, into_gradient)  # type: ignore[no-untyped-call]
    return found


def _plain(hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="sum")


def _vocabulary(head: nn.Module) -> int:
    return max((one.shape[0] for one in head.parameters() if one.ndim == 2), default=2**16)


def _chunks(hidden: Tensor, targets: Tensor, vocabulary: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    rows = max(CHUNK_BYTES // (4 * vocabulary), 16)
    return torch.split(hidden, rows), torch.split(targets, rows)


def _group_rows(rows: int, row_bytes: int) -> int:
    """Of each of some groups that are alike, so that no small one is left over."""
    most = max(GROUP_BYTES // row_bytes, LEAST_ROWS)
    return math.ceil(rows / max(round(rows / most), 1)) or 1


class _LogitsSum(torch.autograd.Function):
    """Gradients are those of a sum, so that what comes back is one factor for all of them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, into_gradient: IntoGradient) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        with torch.autocast(hidden.device.type, enabled=False):
            table = weight.to(dtype)
            needs_hidden, needs_weight = ctx.needs_input_grad[:2]
            by_hidden = torch.empty_like(hidden) if needs_hidden else None
            by_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            size = _group_rows(len(hidden), table.itemsize * len(table))
            for begin in range(0, len(hidden), size):
                rows = hidden[begin : begin + size].to(dtype)
                logits = rows @ table.t()  # (m, V)
                total += into_gradient(logits, slice(begin, begin + size), needs_hidden or needs_weight)
                if by_hidden is not None:
                    by_hidden[begin : begin + size] = logits @ table
                if by_weight is not None:
                    for part in range(0, len(table), _PART_ROWS):  # (V, E) would be in memory twice
                        some = slice(part, part + _PART_ROWS)
                        by_weight[some] += logits[:, some].t() @ rows
        ctx.gradients = by_hidden, by_weight
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss are gone: backward() is called once")
        by_hidden, by_weight = ctx.gradients
        ctx.gradients = None  # they are scaled in place: a table of tokens is large
        return (
            None if by_hidden is None else by_hidden.mul_(upstream),
            None if by_weight is None else by_weight.mul_(upstream).to(ctx.weight_dtype),
            None,
        )


def _to_gradient(logits: Tensor, targets: Tensor, *, needs_gradient: bool) -> Tensor:
    """The loss, () float32. `logits` (m, V) become its gradient, softmax(logits) - one_hot(targets)."""
    total = torch.zeros((), dtype=torch.float32, device=logits.device)
    for part, wanted in zip(*_chunks(logits, targets, logits.shape[1]), strict=True):
        wide = part.float()
        known = wide.gather(1, wanted[:, None])[:, 0]
        high = wide.amax(dim=1, keepdim=True)
        shares = wide.sub_(high).exp_()
        sums = shares.sum(dim=1, keepdim=True)
        total += (sums.log() + high)[:, 0].sum() - known.sum()
        if needs_gradient:
            shares.div_(sums)
            shares.scatter_add_(1, wanted[:, None], shares.new_full((len(wanted), 1), -1.0))
            part.copy_(shares)
    return total
