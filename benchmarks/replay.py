"""Answers that are given beforehand, written by a model of any weights: what a step costs is real, what is written is chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.messages import SamplingParams
from openbook.serving.engine.constraint import Constraint


class Case(NamedTuple):
    """Ids of a prompt, and of what is to be answered."""

    prompt: list[int]
    answer: list[int]

    @property
    def params(self) -> SamplingParams:
        """Greedy, with the answer as the only thing that the grammar allows."""
        return SamplingParams(max_tokens=len(self.answer), constraint=json.dumps(self.answer), ignore_eos=True)


class Script:
    """A `Constraint` that allows one token in each place. For an engine's `constraints`: see `scripts`."""

    def __init__(self, answer: Sequence[int], vocab_size: int, place: int = 0) -> None:
        self._answer, self._place = answer, place
        self._mask = np.zeros(vocab_size, np.bool_)
        self._allow(True)

    def allowed(self) -> NDArray[np.bool_]:
        return self._mask

    def push(self, token: int) -> None:
        assert token == self._answer[self._place]
        self._allow(False)
        self._place += 1
        self._allow(True)

    @property
    def is_done(self) -> bool:
        return self._place == len(self._answer)

    def copy(self) -> Constraint:
        return Script(self._answer, len(self._mask), self._place)

    def _allow(self, is_allowed: bool) -> None:
        if not self.is_done:
            self._mask[self._answer[self._place]] = is_allowed


class Scripts:
    """Makes the `Script` that a request asks for."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size

    def __call__(self, answer: str) -> Constraint:
        return Script(json.loads(answer), self._vocab_size)
