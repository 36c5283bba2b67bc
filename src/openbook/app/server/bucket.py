"""How many tokens a key may use: a bucket that fills by the minute's allowance, up to one minute's worth."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from openbook.app.server.errors import Refused


class TokenBucket:
    """Prompts are paid for when they are taken, answers as they come: what is overdrawn must fill up before the next request."""

    def __init__(self, tokens_per_minute: int, clock: Callable[[], float]) -> None:
        self.tokens_per_minute, self._clock = tokens_per_minute, clock
        self._level = float(tokens_per_minute)
        self._at_s = clock()

    def take(self, prompt_tokens: int) -> None:
        """400 for a prompt over the allowance of a minute, 429 with Retry-After while there is not enough."""
        if prompt_tokens > self.tokens_per_minute:
            raise Refused(
                400,
                f"the prompt has {prompt_tokens:,} tokens, this key may use {self.tokens_per_minute:,} a minute: shorten it",
                code="rate_limit_exceeded",
            )
        self._fill()
        missing = max(prompt_tokens, 1) - self._level
        if missing > 0:
            wait_s = ceil(missing * 60 / self.tokens_per_minute)
            raise Refused(
                429,
                f"this key may use {self.tokens_per_minute:,} tokens a minute: ask again in {wait_s} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait_s)},
            )
        self._level -= prompt_tokens

    def spend(self, tokens: int) -> None:
        """Tokens of an answer; the level may fall below zero."""
        self._level -= tokens

    def _fill(self) -> None:
        now = self._clock()
        gained = (now - self._at_s) * self.tokens_per_minute / 60
        self._level, self._at_s = min(self._level + gained, float(self.tokens_per_minute)), now
