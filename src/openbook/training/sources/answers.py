"""Answers whose log-probabilities are compared: of pairs, or of answers that were liked or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.batch import Batch

Answer = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""ids (T,), and which of them are the answer's (T,)."""


@dataclass(frozen=True)
class Answers:
    """S answers with their prompts. In the tensors of tokens they lie end to end, the longest first, so that equal ones attend
    together; everywhere else in their own order.

    ids: (N,). rows: (M,) tokens behind which an answer's token stands, targets: (M,) those, owners: (M,) whose it is. counts:
    (S,) float32, tokens of each answer.
    """

    ids: Tensor
    lengths: list[int]
    rows: Tensor
    targets: Tensor
    owners: Tensor
    counts: Tensor

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Self:
        """The last id of each is only learned, not read."""
        order = sorted(range(len(answers)), key=lambda place: -len(answers[place][0]))
        ids = np.concatenate([answers[place][0][:-1] for place in order])
        following = np.concatenate([answers[place][0][1:] for place in order])
        learned = np.concatenate([answers[place][1][1:] for place in order])
        lengths = [len(answers[place][0]) - 1 for place in order]
        rows = np.flatnonzero(learned)
        owners = torch.from_numpy(np.repeat(np.array(order), lengths)[rows])
        counts = torch.bincount(owners, minlength=len(answers)).float()
        return cls(
            torch.from_numpy(ids), lengths, torch.from_numpy(rows), torch.from_numpy(following[rows]), owners, counts
        )

    def __len__(self) -> int:
        return len(self.counts)

    def batch(self) -> Batch:
        return Batch.of(self.lengths, device=self.ids.device)

    def shown_at(self, place: int) -> tuple[list[int], list[bool]]:
        """Answer `place` with its prompt, and of each token whether it is learned."""
        owner = self.owners == place
        if not bool(owner.any()):  # nothing of it is learned: the first one of all stands for it
            return self.ids[: self.lengths[0]].tolist(), [False] * self.lengths[0]
        last = int(self.rows[owner].max())
        ends = torch.tensor(self.lengths).cumsum(0)
        sequence = int(torch.searchsorted(ends, last, right=True))
        begin, end = int(ends[sequence]) - self.lengths[sequence], int(ends[sequence])
        is_learned = torch.zeros(end - begin + 1, dtype=torch.bool)
        is_learned[self.rows[owner] - begin + 1] = True
        behind = self.targets[owner & (self.rows == end - 1)].tolist()
        ids = [*self.ids[begin:end].tolist(), *behind]
        return ids, is_learned[: len(ids)].tolist()


@dataclass(frozen=True)
class PreferredPairs(Answers):
    """P pairs: answers 0 to P - 1 are the better ones, P to 2 P - 1 the worse. reference: (2 P,) sums of log-probabilities of
    the model that the run began with; None where they are computed beside the model's own.
    """

    reference: Tensor | None = None

    @property
    def pairs(self) -> int:
        return len(self) // 2

    def shown(self) -> tuple[list[int], list[bool]]:
        return self.shown_at(0)

    def shown_beside(self) -> dict[str, tuple[list[int], list[bool]]]:
        return {"the better answer": self.shown_at(0), "the worse answer": self.shown_at(self.pairs)}


@dataclass(frozen=True)
class LikedAnswers(Answers):
    """S answers, `is_good` (S,) whether each was liked. strangers: the same prompts with answers to others, which tell how far
    the model is from the reference (`stranger_reference`, (S,)). divergence: that, over the whole step, where it is known.
    """

    is_good: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    strangers: Answers | None = None
    reference: Tensor | None = None
    stranger_reference: Tensor | None = None
    divergence: float | None = None

    def shown(self) -> tuple[list[int], list[bool]]:
        return self.shown_at(0)
