"""How far a student's distribution over a vocabulary is from its teacher's, and how that changes with the student's logits."""

from __future__ import annotations

import math

from torch import Tensor, logaddexp

from openbook.training.objectives.distill_names import Divergence


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
            middle = _middle(student, teacher, mixture)
            return mixture * _kl(teacher, middle) + (1 - mixture) * _kl(student, middle)


def slopes(student: Tensor, teacher: Tensor, kind: Divergence, mixture: float = 0.5) -> Tensor:
    """(m, V): the gradient of `divergences` by the logits of which `student` is the log-softmax.

    With q of the student and p of the teacher: forward q - p; reverse q (log q/p - KL(q || p)); jsd (1 - b) q (log q/m -
    KL(q || m)), since what the middle changes by itself cancels out.
    """
    if kind == "forward":
        return student.exp() - teacher.exp()
    other = teacher if kind == "reverse" else _middle(student, teacher, mixture)
    shares, gap = student.exp(), student - other
    gap = gap - (shares * gap).sum(dim=1, keepdim=True)
    return gap.mul_(shares) if kind == "reverse" else gap.mul_(shares).mul_(1 - mixture)


def _middle(student: Tensor, teacher: Tensor, mixture: float) -> Tensor:
    return logaddexp(teacher + math.log(mixture), student + math.log1p(-mixture))


def _kl(one: Tensor, other: Tensor) -> Tensor:
    return (one.exp() * (one - other)).sum(dim=1)
