"""A judge for tests that decides by a rule, reading the question as a model would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from openbook.core.messages import ChatRequest, ChoiceFormat, Completion, ModelLimits

_ANSWERS = re.compile(
    r"-{5} (?:answer|回答) A -{5}\n(.*?)\n-{5} (?:answer|回答) B -{5}\n(.*?)\n-{5} (?:end|结束) -{5}", re.DOTALL
)
Rule = Callable[[str], float]
Wrap = Callable[[int, str, ChatRequest], str | Exception]


def says_it(number: int, verdict: str, request: ChatRequest) -> str:
    return verdict


class RuleJudge:
    """The answer with more of `rule` is better, on a draw A. `wrap`: (number of the request, verdict, request) -> what is said,
    or raised. Requests are kept.
    """

    def __init__(self, rule: Rule, wrap: Wrap = says_it, name: str = "rule") -> None:
        self.name, self.limits = name, ModelLimits()
        self.requests: list[ChatRequest] = []
        self._rule, self._wrap = rule, wrap

    def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        found = _ANSWERS.search(request.messages[0].text)
        assert found, request.messages[0].text
        verdict = "A" if self._rule(found[1]) >= self._rule(found[2]) else "B"
        said = self._wrap(len(self.requests), verdict, request)
        if isinstance(said, BaseException):
            raise said
        return Completion(said, "stop", prompt_tokens=100, completion_tokens=1)

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        """The last one first: nothing may depend on the order."""
        for place in reversed(range(len(requests))):
            try:
                yield place, self.complete(requests[place])
            except Exception as error:
                yield place, error


def is_constrained(request: ChatRequest) -> bool:
    return isinstance(request.response_format, ChoiceFormat)
