"""A student learns what a teacher says of every token, beside what the text says.

In reading order: what is chosen; a head that sums both losses a chunk of rows at a time; the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Linear
from openbook.training.loss import CHUNK_BYTES, LossSum, logits_sum
from openbook.training.objectives.distill_names import Divergence
from openbook.training.objectives.divergences import divergences, slopes
from openbook.training.objectives.next_token import NextToken
from openbook.training.sources.step import Tokens

_LEAST_ROWS = 16


class Knobs(NamedTuple):
    """`weight`: of the divergence, from 0 (the text alone) to 1 (the teacher alone). `temperature` divides both logits; the
    divergence is multiplied by its square, so that its gradients are as large as at 1. `mixture`: of jsd.
    """

    divergence: Divergence = "forward"
    temperature: float = 1.0
    weight: float = 0.5
    mixture: float = 0.5

    def tempered(self, logits: Tensor) -> Tensor:
        """(m, V) log-probabilities."""
        return (logits if self.temperature == 1 else logits / self.temperature).log_softmax(dim=1)


class DistillHead:
    """A head: () float32, sum over rows of (1 - w) cross-entropy + w T^2 divergence. `teacher`: (M, E') hidden rows and their
    head, without gradients. `sums`: of the last call, cross-entropy and divergence (without T^2), in nats.

    With a plain `Linear` the gradients are computed beside the loss, as of `loss.cross_entropy_sum`; another head (one with an
    adapter), and the teacher's, are computed again in the backward pass. Logits of a chunk of rows exist at a time.
    """

    def __init__(self, targets: Tensor, teacher: tuple[Tensor, nn.Module], knobs: Knobs) -> None:
        self._targets, self._teacher, self._knobs = targets, teacher, knobs
        self._products = _products_now(targets.device.type)
        self.sums = torch.zeros(2)

    def __call__(self, hidden: Tensor, head: nn.Module | None) -> Tensor:
        if head is None:
            raise ValueError("the model has no head that makes logits of tokens")
        self._products = _products_now(hidden.device.type)
        self.sums = torch.zeros(2, device=hidden.device)
        if type(head) is Linear and head.bias is None:
            return logits_sum(hidden, head.weight, self._into_gradient)
        total = hidden.new_zeros((), dtype=torch.float32)
        for some in _chunks(slice(0, len(hidden)), _vocabulary(head)):
            both: Tensor = checkpoint(self._both, hidden[some], head, some, use_reentrant=False)
            self.sums += both.detach()
            total = total + self._weighed(both)
        return total

    def _weighed(self, both: Tensor) -> Tensor:
        weight = self._knobs.weight
        return (1 - weight) * both[0] + weight * self._knobs.temperature**2 * both[1]

    def _both(self, hidden: Tensor, head: nn.Module, some: slice) -> Tensor:
        """(2,): sums of cross-entropies and of divergences."""
        logits, knobs = head(hidden).float(), self._knobs
        entropy = F.cross_entropy(logits, self._targets[some], reduction="sum")
        found = divergences(knobs.tempered(logits), self._known(some), knobs.divergence, knobs.mixture)
        return torch.stack((entropy, found.sum()))

    def _into_gradient(self, logits: Tensor, rows: slice, needs_gradient: bool) -> Tensor:
        """See `loss.IntoGradient`."""
        knobs, both = self._knobs, torch.zeros(2, device=logits.device)
        for some in _chunks(slice(rows.start, rows.start + len(logits)), logits.shape[1]):
            part = logits[some.start - rows.start : some.stop - rows.start]
            wide, wanted, known = part.float(), self._targets[some, None], self._known(some)
            own = knobs.tempered(wide)
            plain = own if knobs.temperature == 1 else wide.log_softmax(dim=1)
            both[0] -= plain.gather(1, wanted).sum()
            both[1] += divergences(own, known, knobs.divergence, knobs.mixture).sum()
            if needs_gradient:
                slope = slopes(own, known, knobs.divergence, knobs.mixture).mul_(knobs.weight * knobs.temperature)
                if knobs.weight < 1:
                    slope.add_(plain.exp(), alpha=1 - knobs.weight)
                    slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, knobs.weight - 1))
                part.copy_(slope)
        self.sums += both
        return self._weighed(both)

    @torch.no_grad()
    def _known(self, some: slice) -> Tensor:
        """(m, V) log-probabilities of the teacher."""
        rows, head = self._teacher
        with self._products():
            logits: Tensor = head(rows[some])
        return self._knobs.tempered(logits.float())


def _products_now(kind: str) -> Callable[[], AbstractContextManager[object]]:
    """The precision of products that is in force here, for where autograd has put it off."""
    dtype, is_on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return lambda: torch.autocast(kind, dtype, enabled=is_on)


def _chunks(rows: slice, vocabulary: int) -> list[slice]:
    """Some float32 copies of the logits of a part exist together: as many bytes as of one copy in `loss`."""
    size = max(CHUNK_BYTES // (8 * vocabulary), _LEAST_ROWS)
    return [slice(at, min(at + size, rows.stop)) for at in range(rows.start, rows.stop, size)]


def _vocabulary(head: nn.Module) -> int:
    return max((one.shape[0] for one in head.parameters() if one.ndim == 2), default=2**16)


class Distilled:
    """A unit of weight a token. `teacher` reads what the student reads, without gradients. Where the model is evaluated the loss
    is the cross-entropy alone, so that it compares with a run without a teacher.
    """

    def __init__(self, teacher: Family, knobs: Knobs) -> None:
        self._teacher, self._knobs = teacher.eval().requires_grad_(False), knobs

    def weight(self, micro: Tokens) -> float:
        return micro.weight

    def loss(self, model: Family, micro: Tokens) -> LossSum:
        if not model.training:
            return NextToken().loss(model, micro)
        head = DistillHead(micro.targets, self._heard(micro), self._knobs)
        total: Tensor = model(micro.ids, micro.batch(), rows=micro.rows, head=head)
        entropy, divergence = head.sums.tolist()
        told = {"cross_entropy": (entropy, micro.weight), "divergence": (divergence, micro.weight)}
        return LossSum(total, micro.weight, dict(getattr(micro, "told", {})) | told)

    def _heard(self, micro: Tokens) -> tuple[Tensor, nn.Module]:
        """The teacher's hidden rows of what is learned, and its head."""
        heard: list[tuple[Tensor, nn.Module]] = []

        def listen(hidden: Tensor, head: nn.Module | None) -> Tensor:
            assert head is not None, "a teacher writes"
            heard.append((hidden, head))
            return hidden

        with torch.no_grad():
            self._teacher(micro.ids, micro.batch(), rows=micro.rows, head=listen)
        return heard[0]
