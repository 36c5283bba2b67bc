"""Best-of-n: a `ChatModel` that has another write n answers and gives the one that a reward model likes best.

Source: Stiennon et al. 2020, https://arxiv.org/abs/2009.01325 (section 4.1, rejection sampling); how far the answer then is from
the model: at most log n - (n - 1) / n nats (Beirami et al. 2024, https://arxiv.org/abs/2401.01879).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, Protocol

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import ChatModel, ChatRequest, Completion, Message, ModelLimits
from openbook.serving.sampling import Answers, sample_many


class AnswerScorer(Protocol):
    """How good answers to one chat are; higher is better, None where nothing can be said. For any thread."""

    def __call__(self, messages: Sequence[Message], answers: Sequence[str]) -> Sequence[float | None]: ...


class Chosen(NamedTuple):
    """`scores`: of each of `answers`, None for those that failed or have none. `best`: the place of the highest; of equal ones
    the first.
    """

    best: int
    answers: Answers
    scores: list[float | None]

    @property
    def completion(self) -> Completion:
        found = self.answers[self.best]
        assert isinstance(found, Completion), "the best has a score, and what failed has none"
        return found


class BestOf:
    """The best of `n` answers of `model`. Thread-safe where the two are."""

    def __init__(self, model: ChatModel, scorer: AnswerScorer, n: int) -> None:
        self.model, self.n = model, n
        self._scorer = scorer

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def limits(self) -> ModelLimits:
        return self.model.limits

    def choose(self, request: ChatRequest) -> Chosen:
        """All answers with their scores. Raises what went wrong where every answer did, ModelUnavailable where no answer has a
        score.
        """
        ((_, answers),) = sample_many(self.model, [request], self.n)
        return self._chosen(request, answers)

    def complete(self, request: ChatRequest) -> Completion:
        """The best answer; raises as `choose` does."""
        return self.choose(request).completion

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """(place, best answer or what went wrong), each as soon as its answers are there."""
        for place, answers in sample_many(self.model, requests, self.n):
            found: Completion | Exception
            try:
                found = self._chosen(requests[place], answers).completion
            except Exception as error:
                found = error
            yield place, found

    def stream(self, request: ChatRequest) -> Generator[str, None, Completion]:
        """The best answer at once: it is known when all are written."""
        found = self.complete(request)
        if found.text:
            yield found.text
        return found

    def _chosen(self, request: ChatRequest, answers: Answers) -> Chosen:
        places = [place for place, one in enumerate(answers) if isinstance(one, Completion)]
        if not places:
            raise next(one for one in answers if isinstance(one, Exception))
        texts = [one.text for one in answers if isinstance(one, Completion)]
        scores: list[float | None] = [None] * len(answers)
        for place, score in zip(places, self._scorer(request.messages, texts), strict=True):
            scores[place] = score if score is not None and math.isfinite(score) else None
        scored = [place for place in places if scores[place] is not None]
        if not scored:
            raise ModelUnavailable(
                f"none of {len(answers)} answers has a score", "lower max_tokens, or take another reward model"
            )
        return Chosen(max(scored, key=lambda place: (scores[place], -place)), answers, scores)
