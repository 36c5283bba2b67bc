"""A reward that is a reward model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openbook.core.errors import UsageError
from openbook.training.rewards.sampled import Fault, Sampled, Score

if TYPE_CHECKING:
    from openbook.lm.reward import RewardModel


class ModelReward:
    """What a reward model says of an answer to its prompt. One that is longer than any in its training is a fault."""

    def __init__(self, model: RewardModel, name: str = "model") -> None:
        """UsageError for one that scores the steps of a solution."""
        if model.settings.kind != "answers":
            raise UsageError("the reward model scores steps of a solution", "take one that scores answers")
        self.name = name
        self._model = model

    @classmethod
    def load(cls, directory: str, name: str, adapter: str | None = None) -> ModelReward:
        """What objective `reward` left. UsageError for a directory that is not there, ModelUnavailable for one that is none."""
        from openbook.lm.reward import RewardModel

        paths = [Path(os.path.expandvars(one)).expanduser() for one in (directory, adapter) if one is not None]
        for path in paths:
            if not path.is_dir():
                raise UsageError(f"the reward model {path} is not there", "train one: openbook train reward")
        return cls(RewardModel.load(paths[0], paths[1] if adapter is not None else None), name)

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        try:
            return list(self._model.scores([one.prompt for one in samples], [one.completion for one in samples]))
        except UsageError:  # one of them is too long, or its chat cannot be rendered: which?
            return [self._alone(one) for one in samples]

    def _alone(self, sample: Sampled) -> Score:
        try:
            return self._model.scores([sample.prompt], [sample.completion])[0]
        except UsageError as error:
            return Fault("row", str(error))
