"""What a job may cost: requests and tokens, counted as the teacher tells them, and never more than was allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openbook.core.errors import UsageError
from openbook.core.messages import ChatRequest, Completion
from openbook.lm.tokenizers.approximate import ApproximateTokens

SPENT = "what it may cost is spent: with more the same command goes on from here"
_COUNTER = ApproximateTokens()
_SLACK = 1.5
"""A prompt has at most so many times the tokens that are counted without its tokenizer."""


@dataclass
class Budget:
    """`most_requests`, `most_tokens` (prompts and answers): None for no limit. The rest counts what was spent."""

    most_requests: int | None = None
    most_tokens: int | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        for name, value in (("max_requests", self.most_requests), ("max_tokens_total", self.most_tokens)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}", "it may be 1 or more, or left out")

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def spent(self) -> tuple[int, int, int]:
        """Requests, tokens of prompts, tokens of answers."""
        return self.requests, self.prompt_tokens, self.completion_tokens

    def room(self, requests: Sequence[ChatRequest]) -> int:
        """How many of the requests, from the first on, can be paid whatever their answers cost."""
        left_requests = None if self.most_requests is None else self.most_requests - self.requests
        left_tokens = None if self.most_tokens is None else self.most_tokens - self.tokens
        for count, request in enumerate(requests):
            if left_requests is not None and count >= left_requests:
                return count
            if left_tokens is not None:
                left_tokens -= int(_SLACK * tokens_of(request)) + request.sampling.max_tokens
                if left_tokens < 0:
                    return count
        return len(requests)

    def pay(self, request: ChatRequest, answer: Completion | Exception) -> None:
        """One request that was sent. An answer whose tokens the server does not tell is counted here."""
        self.requests += 1
        if isinstance(answer, Completion):
            self.prompt_tokens += answer.prompt_tokens or tokens_of(request)
            self.completion_tokens += answer.completion_tokens or count_tokens(answer.reasoning + answer.text)

    def take_over(self, requests: int, prompt_tokens: int, completion_tokens: int) -> None:
        """What was spent before an interruption."""
        self.requests += requests
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


def tokens_of(request: ChatRequest) -> int:
    """About so many tokens has its prompt."""
    return sum(count_tokens(message.text) + 4 for message in request.messages)


def count_tokens(text: str) -> int:
    return len(_COUNTER.spans(text))
