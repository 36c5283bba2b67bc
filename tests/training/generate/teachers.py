"""Teachers that answer by a rule, and keep what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import ChatRequest, Completion, ModelLimits

Rule = Callable[[ChatRequest], Completion | str]


class RuleTeacher:
    """`rule` gives the answer to a request, or its text; what it raises is the request's own fault. `fails_after`: so many
    requests are answered, then it breaks down.
    """

    def __init__(self, rule: Rule, fails_after: int | None = None) -> None:
        self.name, self.limits = "rule", ModelLimits()
        self.requests: list[ChatRequest] = []
        self._rule, self._left = rule, fails_after

    def complete(self, request: ChatRequest) -> Completion:
        if self._left is not None:
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        self.requests.append(request)
        said = self._rule(request)
        return said if isinstance(said, Completion) else Completion(said, "stop", 10, max(1, len(said.split())))

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for place, request in enumerate(requests):
            try:
                answer: Completion | Exception = self.complete(request)
            except ModelUnavailable as error:
                answer = error
            yield place, answer


def asked(request: ChatRequest) -> str:
    """The last message."""
    return request.messages[-1].text
