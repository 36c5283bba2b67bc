"""Log-probabilities of tokens with gradients, a chunk of the logits at a time: what objectives over whole answers are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openbook.lm.nn.linear import Linear
from openbook.training.loss import CHUNK_BYTES

LEAST_ROWS = 16


class TargetLogprobs:
    """A head: log softmax(head(hidden))[target], (M,) float32, of hidden rows (M, E) and `targets` (M,).

    To be given to a model: `model(ids, batch, rows=rows, head=TargetLogprobs(targets))`. All logits never exist at once: the
    backward pass computes those of a chunk again, since what a row's gradient is multiplied by is known only when all
    log-probabilities are. Sums are float32 whatever the products are. `temperature` divides the logits, as it did when the
    targets were drawn. `entropies`: (M,) float32 of the last call, without gradient, where they are wanted.
    """

    def __init__(self, targets: Tensor, *, temperature: float = 1.0, wants_entropy: bool = False) -> None:
        self.targets, self.temperature = targets, temperature
        self.entropies = torch.empty(len(targets) if wants_entropy else 0, dtype=torch.float32, device=targets.device)

    def __call__(self, hidden: Tensor, head: nn.Module | None) -> Tensor:
        """ValueError for a model without a head over a vocabulary."""
        if head is None:
            raise ValueError("the model has no head that makes logits of tokens")
        if type(head) is Linear and head.bias is None and not hasattr(head.weight, "full_tensor"):
            given = hidden, head.weight, self.targets, self.temperature, self.entropies
            found: Tensor = _Logprobs.apply(*given)  # type: ignore[no-untyped-call]
            return found
        vocabulary = max((one.shape[0] for one in head.parameters() if one.ndim == 2), default=2**16)
        rows = _rows(vocabulary)
        wants = len(self.entropies) > 0
        parts = zip(torch.split(hidden, rows), torch.split(self.targets, rows), strict=True)
        each = [checkpoint(_plain, own, head, aim, self.temperature, wants, use_reentrant=False) for own, aim in parts]
        if wants:
            self.entropies = torch.cat([entropies for _, entropies in each])
        return torch.cat([logprobs for logprobs, _ in each])


def per_sequence(logprobs: Tensor, owners: Tensor, count: int) -> Tensor:
    """(M,) of tokens, `owners` (M,) the sequence of each -> (count,) sums."""
    return logprobs.new_zeros(count).index_add(0, owners, logprobs)


def _plain(
    hidden: Tensor, head: nn.Module, targets: Tensor, temperature: float, wants_entropy: bool
) -> tuple[Tensor, Tensor]:
    logits: Tensor = head(hidden).float() / temperature
    sums = logits.logsumexp(dim=1)
    entropies = sums.new_empty(len(sums) if wants_entropy else 0)
    if wants_entropy:
        _entropy(logits.detach(), sums.detach(), entropies)
    return logits.gather(1, targets[:, None])[:, 0] - sums, entropies


def _entropy(logits: Tensor, sums: Tensor, out: Tensor) -> None:
    """(m, V), their logsumexp (m,) -> nats (m,)."""
    torch.sub(sums, ((logits - sums[:, None]).exp_() * logits).sum(dim=1), out=out)


def _rows(vocabulary: int) -> int:
    return max(CHUNK_BYTES // (4 * vocabulary), LEAST_ROWS)


class _Logprobs(torch.autograd.Function):
    """The gradient of log p(target) by the logits is (one_hot(target) - softmax) / temperature."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropies: Tensor
    ) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
        sums = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        found = torch.empty_like(sums)
        with torch.autocast(hidden.device.type, enabled=False):
            table, size = weight.to(dtype), _rows(len(weight))
            for at in range(0, len(targets), size):
                logits = (hidden[at : at + size].to(dtype) @ table.t()).float()  # (m, V)
                if temperature != 1:
                    logits.div_(temperature)
                sums[at : at + size] = logits.logsumexp(dim=1)
                if len(entropies):
                    _entropy(logits, sums[at : at + size], entropies[at : at + size])
                found[at : at + size] = logits.gather(1, targets[at : at + size, None])[:, 0]
        ctx.save_for_backward(hidden, weight, targets, sums)
        ctx.dtype, ctx.temperature = dtype, temperature
        return found.sub_(sums)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        hidden, weight, targets, sums = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        by_hidden = torch.empty_like(hidden) if needs_hidden else None
        by_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if needs_weight else None
        with torch.autocast(hidden.device.type, enabled=False):
            table, size = weight.to(ctx.dtype), _rows(len(weight))
            for at in range(0, len(targets), size):
                rows = hidden[at : at + size].to(ctx.dtype)
                own = upstream[at : at + size, None] / ctx.temperature  # (m, 1)
                shares = (rows @ table.t()).float()
                if ctx.temperature != 1:
                    shares.div_(ctx.temperature)
                shares.sub_(sums[at : at + size, None]).exp_().mul_(-own)
                shares.scatter_add_(1, targets[at : at + size, None], own)
                by_logits = shares.to(ctx.dtype)
                if by_hidden is not None:
                    by_hidden[at : at + size] = by_logits @ table
                if by_weight is not None:
                    by_weight.add_(by_logits.t() @ rows)
        return by_hidden, None if by_weight is None else by_weight.to(weight.dtype), None, None, None
