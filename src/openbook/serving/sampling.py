"""Several answers to each request, of any `ChatModel`: by one prefill where the model is here, by as many requests elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from openbook.core.errors import UsageError
from openbook.core.messages import ChatModel, ChatRequest, Completion

Answers = list[Completion | Exception]


@runtime_checkable
class SamplesMany(Protocol):
    """A model that computes a prompt once for all answers to it."""

    def sample_many(self, requests: Sequence[ChatRequest], n: int) -> Iterator[tuple[int, Answers]]: ...


def sample_many(model: ChatModel, requests: Sequence[ChatRequest], n: int) -> Iterator[tuple[int, Answers]]:
    """(place, `n` answers, each an error where it went wrong), a request as soon as all of its answers are there. With a seed,
    answer i draws from seed + i.

    UsageError for several answers at temperature 0, which would be the same, and for n below 1.
    """
    if n < 1:
        raise UsageError(f"{n} answers were asked for", "ask for 1 or more")
    if n > 1 and any(request.sampling.temperature == 0 for request in requests):
        raise UsageError(f"at temperature 0 all {n} answers are the same", "give a temperature above 0")
    if isinstance(model, SamplesMany):
        return model.sample_many(requests, n)
    return _gathered(model, requests, n)


def _gathered(model: ChatModel, requests: Sequence[ChatRequest], n: int) -> Iterator[tuple[int, Answers]]:
    each = [seeded(request, answer) for request in requests for answer in range(n)]
    answers: dict[int, dict[int, Completion | Exception]] = {place: {} for place in range(len(requests))}
    for number, answer in model.complete_many(each):
        place, which = divmod(number, n)
        answers[place][which] = answer
        if len(answers[place]) == n:
            yield place, [one for _, one in sorted(answers.pop(place).items())]


def seeded(request: ChatRequest, answer: int) -> ChatRequest:
    """The request for answer number `answer` of several."""
    seed = request.sampling.seed
    if seed is None or answer == 0:
        return request
    return replace(request, sampling=replace(request.sampling, seed=seed + answer))
