"""What a run makes smaller: an objective turns a model and a micro-batch into a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.parallel import Ranks

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)


class Objective(Protocol[M_contra]):
    """`weight` is known before the forward pass, so that the loop can divide by that of the whole step."""

    def weight(self, micro: M_contra) -> float: ...

    def loss(self, model: Family, micro: M_contra) -> LossSum: ...


@runtime_checkable
class KnowsFirstLoss(Protocol[M_contra]):
    """An objective whose loss before training is known beforehand, whatever the model."""

    def first_loss(self, micro: M_contra) -> float | None:
        """The sum over `micro`; None where only training tells it."""
        ...


@runtime_checkable
class PreparesEvaluation(Protocol[M]):
    """An objective whose statistics are those of all that is evaluated."""

    def prepare_evaluation(self, model: Family, micros: Sequence[M], ranks: Ranks, spare: Sequence[M]) -> list[M]:
        """As `PreparesSteps.prepare`. `spare`: what this rank reads beside the others and does not count."""
        ...


@runtime_checkable
class PreparesSteps(Protocol[M]):
    """An objective whose statistics are no sums over micro-batches: it sees a whole step before any of it is learned."""

    def prepare(self, model: Family, micros: Sequence[M], ranks: Ranks) -> list[M]:
        """This rank's micro-batches with what `loss` needs to know of the others, so that their gradients are sums again."""
        ...
