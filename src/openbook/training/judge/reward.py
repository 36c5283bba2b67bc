"""A judge as a reward: 1 to 10 points by a rubric, brought to 0 to 1."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from openbook.core.messages import ChatModel
from openbook.training.data.row import text_of
from openbook.training.judge.ask import Asking, Question, Reply, ask
from openbook.training.judge.rubric import Rubric, language_of, read_rubric
from openbook.training.rewards.sampled import Fault, Sampled, Score
from openbook.training.rewards.settings import RewardTerm

POINTS = tuple(str(one) for one in range(1, 11))


class JudgeReward:
    """(points - 1) / 9 of each completion."""

    def __init__(self, model: ChatModel, rubric: Rubric, name: str = "judge", asking: Asking | None = None) -> None:
        self.name = name
        self._model, self._rubric, self._asking = model, rubric, asking or Asking()

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        questions = [self._question(one) for one in samples]
        found: dict[int, Score] = {place: _score(reply) for place, reply in ask(self._model, questions, self._asking)}
        return [found[place] for place in range(len(samples))]

    def _question(self, sample: Sampled) -> Question:
        prompt = "\n\n".join(text_of(dict(one)) for one in sample.prompt)
        language = language_of(prompt)
        return Question(self._rubric.text(language, prompt=prompt, answer=sample.completion), POINTS, language)


def open_judge_reward(part: RewardTerm, open_model: Callable[[str], ChatModel] | None = None) -> JudgeReward:
    """The judge of a recipe. UsageError for a rubric that cannot be used, ModelUnavailable for a model that is none."""
    from openbook.serving.models import open_chat_model

    assert part.judge is not None
    rubric = read_rubric("score", _path(part.rubric), _path(part.constitution))
    model = (open_model or open_chat_model)(os.path.expandvars(part.judge))
    return JudgeReward(model, rubric, part.label, Asking(reasons=part.max_tokens or 0))


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(os.path.expandvars(name)).expanduser()


def _score(reply: Reply) -> Score:
    if reply.error is not None:
        return Fault("unavailable", str(reply.error))
    if reply.choice is None:
        return Fault("nonsense", f"the judge said {reply.text[:100]!r}, which is none of 1 to 10")
    return (int(reply.choice) - 1) / 9
