"""What a source of training data gives the loop: the micro-batches of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.batch import Batch

M = TypeVar("M")


@dataclass(frozen=True)
class Tokens:
    """Sequences for a language model, end to end. ids: (N,) int64. rows: (M,) those of them whose next token the loss counts,
    targets: (M,) those next tokens.
    """

    ids: Tensor
    lengths: list[int]
    rows: Tensor
    targets: Tensor

    @classmethod
    def of(cls, samples: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]) -> Tokens:
        """samples: ids (T,) and whether each is learned (T,), T > 1. A first token is never learned: nothing is before it.

        The last id of a sample is only learned, not read.
        """
        lengths = [len(ids) - 1 for ids, _ in samples]
        ids = np.concatenate([ids[:-1] for ids, _ in samples])
        following = np.concatenate([ids[1:] for ids, _ in samples])
        learned = np.concatenate([learned[1:] for _, learned in samples])
        rows = np.flatnonzero(learned)
        return cls(torch.from_numpy(ids), lengths, torch.from_numpy(rows), torch.from_numpy(following[rows]))

    @property
    def weight(self) -> float:
        """Of its loss in that of the step: tokens that are learned."""
        return float(len(self.targets))

    def batch(self) -> Batch:
        return Batch.of(self.lengths, device=self.ids.device)

    def shown(self) -> tuple[list[int], list[bool]]:
        """The first sequence with what is learned last, and of each token whether it is learned."""
        length = self.lengths[0]
        own = self.rows < length
        ids = [*self.ids[:length].tolist(), *self.targets[own & (self.rows == length - 1)].tolist()]
        is_learned = torch.zeros(length + 1, dtype=torch.bool)
        is_learned[self.rows[own] + 1] = True
        return ids, is_learned[: len(ids)].tolist()


@runtime_checkable
class Shown(Protocol):
    """A micro-batch whose first sequence can be shown to a person: its ids, and of each whether it is learned."""

    def shown(self) -> tuple[list[int], list[bool]]: ...


@runtime_checkable
class ShownBeside(Protocol):
    """A micro-batch whose first sequences belong together: what each is, with what `Shown` says."""

    def shown_beside(self) -> dict[str, tuple[list[int], list[bool]]]: ...


@runtime_checkable
class OwnState(Protocol):
    """A source whose state is another one on each rank; each writes and reads its own."""

    def is_shared(self) -> bool:
        """Whether the state of the first rank is that of all."""
        ...


class Source(Protocol[M]):
    """Gives the steps of a run, the same for the same seed, on every rank its own part."""

    def next_step(self) -> list[M]:
        """This rank's micro-batches of the next step."""
        ...

    def state(self) -> dict[str, Any]:
        """What `resume` needs, as JSON."""
        ...

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        ...


@runtime_checkable
class SeesSteps(Protocol):
    """A source whose next step depends on what the last one came to."""

    def saw(self, metrics: Mapping[str, float]) -> None:
        """Those of the step that was taken, over all ranks: on each the same."""
        ...
