"""A reward model as the scorer of answers to a chat."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.core.messages import Message
from openbook.lm.reward import RewardModel
from openbook.lm.tokenizers.render import plain_message


class RewardScorer:
    """An `AnswerScorer`; its tensor work runs on one thread at a time. An answer that is longer than any that the reward model
    has read has no score.
    """

    def __init__(self, model: RewardModel) -> None:
        if model.settings.kind != "answers":
            raise UsageError("the reward model scores steps of a solution", "take one that scores answers")
        self._model = model
        self._lock = threading.Lock()

    @classmethod
    def load(cls, directory: Path | str) -> RewardScorer:
        """The reward model in a directory. Raises what `RewardModel.load` raises."""
        return cls(RewardModel.load(directory))

    def __call__(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float | None]:
        asked = [plain_message(message) for message in messages]
        with self._lock:
            try:
                return list(self._model.scores([asked] * len(answers), answers))
            except UsageError:  # one of them is too long: which one?
                return [self._one(asked, answer) for answer in answers]

    def _one(self, asked: Sequence[dict[str, object]], answer: str) -> float | None:
        try:
            return self._model.scores([asked], [answer])[0]
        except UsageError:
            return None
