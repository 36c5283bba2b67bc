"""Steps of a student: rows of data, or what it writes itself to their prompts, in shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openbook.training.rollouts.episode import Episode
from openbook.training.sources.rollouts import RolloutSource, Told, Values
from openbook.training.sources.step import Source, Tokens


@dataclass(frozen=True)
class Own(Tokens):
    """Of completions that the student wrote. `told`: of their rollout."""

    told: Told = field(default_factory=dict)


class OwnWords:
    """What a student wrote is learned as it is: the teacher says what each token is worth."""

    def prepare(self, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]) -> tuple[Values, Told]:
        return {}, {}

    def micro(
        self, episodes: Sequence[Episode], values: Values, places: Sequence[int], told: Told, *, is_first: bool
    ) -> Own:
        chosen = sorted((episodes[place] for place in places), key=lambda one: -len(one.prompt_ids) - len(one.ids))
        return Own(**vars(Tokens.of([one.answer for one in chosen])) | {"told": told})

    def has_signal(self, group: Sequence[Episode]) -> bool:
        return True


class SharedSource:
    """A share of the steps is of `own`, the others of `data`; which is which follows from the seed and the number of the step.

    Source: Agarwal et al. 2023, https://arxiv.org/abs/2306.13649, algorithm 1 (lambda).
    """

    def __init__(self, data: Source[Tokens], own: RolloutSource[Own], share: float, seed: int) -> None:
        self._data, self._own, self._share, self._seed = data, own, share, seed
        self._number = 0

    def next_step(self) -> list[Tokens]:
        random = np.random.Generator(np.random.Philox(key=self._seed % 2**64, counter=self._number))
        self._number += 1
        return [*(self._own.next_step() if random.random() < self._share else self._data.next_step())]

    def saw(self, metrics: Mapping[str, float]) -> None:
        self._own.saw(metrics)

    def state(self) -> dict[str, Any]:
        return {"number": self._number, "data": self._data.state(), "own": self._own.state()}

    def resume(self, state: dict[str, Any]) -> None:
        self._number = state["number"]
        self._data.resume(state["data"])
        self._own.resume(state["own"])
