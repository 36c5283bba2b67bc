"""What a run makes smaller: an objective turns a model and a micro-batch into a sum."""

from __future__ import annotations

from typing import Protocol, TypeVar

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum

M_contra = TypeVar("M_contra", contravariant=True)


class Objective(Protocol[M_contra]):
    """`weight` is known before the forward pass, so that the loop can divide by that of the whole step."""

    def weight(self, micro: M_contra) -> float: ...

    def loss(self, model: Family, micro: M_contra) -> LossSum: ...
