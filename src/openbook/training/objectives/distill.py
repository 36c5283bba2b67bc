"""A student learns what a teacher says of every token, beside what the text says.

In reading order: the divergences; a head that sums them a chunk at a time; the objective.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openbook.lm.families.base import Family
from openbook.training.loss import CHUNK_BYTES, LossSum, cross_entropy_sum
from openbook.training.objectives.distill_names import Divergence
from openbook.training.sources.step import Tokens

_LEAST_ROWS = 16


def divergences(student: Tensor, teacher: Tensor, kind: Divergence, mixture: float = 0.5) -> Tensor:
    """(m,) nats between two distributions over a vocabulary; both (m, V) log-probabilities.

    forward: KL(teacher || student). Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2. reverse:
    KL(student || teacher). Source: Gu et al. 2023, https://arxiv.org/abs/2306.08543, equation 1. jsd: b KL(teacher || m) +
    (1 - b) KL(student || m), m = b teacher + (1 - b) student, b `mixture`. Source: Agarwal et al. 2023,
    https://arxiv.org/abs/2306.13649, equation 1.
    """
    match kind:
        case "forward":
            return _kl(teacher, student)
        case "reverse":
            return _kl(student, teacher)
        case "jsd":
            both = torch.stack((teacher + math.log(mixture), student + math.log1p(-mixture)))
            middle = both.logsumexp(dim=0)
            return mixture * _kl(teacher, middle) + (1 - mixture) * _kl(student, middle)


def _kl(one: Tensor, other: Tensor) -> Tensor:
    return (one.exp() * (one - other)).sum(dim=1)


class Knobs(NamedTuple):
    """`weight`: of the divergence, from 0 (the text alone) to 1 (the teacher alone). `temperature` divides both logits; the
    divergence is multiplied by its square, so that its gradients are as large as at 1.
    """

    divergence: Divergence = "forward"
    temperature: float = 1.0
    weight: float = 0.5
    mixture: float = 0.5


class DistillHead:
    """A head: () float32, sum over rows of (1 - w) cross-entropy + w T^2 divergence. `teacher`: (M, E') hidden rows and their
    head. Logits of a chunk exist at a time, and again in the backward pass. `sums`: of the last call, of both.
    """

    def __init__(self, targets: Tensor, teacher: tuple[Tensor, nn.Module], knobs: Knobs) -> None:
        self._targets, self._teacher, self._knobs = targets, teacher, knobs
        self.sums = torch.zeros(2)

    def __call__(self, hidden: Tensor, head: nn.Module | None) -> Tensor:
        if head is None:
            raise ValueError("the model has no head that makes logits of tokens")
        rows, teacher_head = self._teacher
        size = max(CHUNK_BYTES // (8 * _vocabulary(head)), _LEAST_ROWS)
        parts = zip(*(torch.split(one, size) for one in (hidden, rows, self._targets)), strict=True)
        total, self.sums = hidden.new_zeros((), dtype=torch.float32), torch.zeros(2)
        for own, other, wanted in parts:
            given = own, head, other, teacher_head, wanted, self._knobs
            both: Tensor = checkpoint(_losses, *given, use_reentrant=False)
            total = total + (1 - self._knobs.weight) * both[0] + self._knobs.weight * both[1]
            self.sums += both.detach()
        return total


def _losses(
    hidden: Tensor, head: nn.Module, other: Tensor, teacher_head: nn.Module, targets: Tensor, knobs: Knobs
) -> Tensor:
    """(2,): sums of cross-entropies and of T^2 divergences."""
    logits: Tensor = head(hidden).float()
    with torch.no_grad():
        known: Tensor = (teacher_head(other).float() / knobs.temperature).log_softmax(dim=1)
    entropy = F.cross_entropy(logits, targets, reduction="sum")
    found = divergences((logits / knobs.temperature).log_softmax(dim=1), known, knobs.divergence, knobs.mixture)
    return torch.stack((entropy, knobs.temperature**2 * found.sum()))


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
        told = dict(getattr(micro, "told", {}))
        named: dict[str, Any] = {"rows": micro.rows}
        if not model.training:

            def plain(hidden: Tensor, head: nn.Module | None) -> Tensor:
                return cross_entropy_sum(hidden, head, micro.targets)

            return LossSum(model(micro.ids, micro.batch(), head=plain, **named), micro.weight, told)
        with torch.no_grad():
            heard: list[tuple[Tensor, nn.Module]] = []

            def listen(hidden: Tensor, head: nn.Module | None) -> Tensor:
                assert head is not None, "a teacher writes"
                heard.append((hidden, head))
                return hidden

            self._teacher(micro.ids, micro.batch(), head=listen, **named)
        head = DistillHead(micro.targets, heard[0], self._knobs)
        total: Tensor = model(micro.ids, micro.batch(), head=head, **named)
        entropy, divergence = head.sums.tolist()
        told |= {
            "cross_entropy": (entropy, micro.weight),
            "divergence": (divergence / self._knobs.temperature**2, micro.weight),
        }
        return LossSum(total, micro.weight, told)
