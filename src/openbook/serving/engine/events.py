"""What the engine says of a request, token by token: plain data, so that whoever reads it needs no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "abort", "error"]
"""`error`: the request could not be computed (its logits were no numbers, its grammar left no token); the others go on."""

NO_TOKEN = -1
"""Stands for the token of an event that has none: "error", or the end of a request that wanted none (`max_tokens` 0)."""


class Chosen(NamedTuple):
    """`logprob` of `token`, and the likeliest (token, log-probability), both before temperature and after penalties."""

    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


class Event(NamedTuple):
    """A token of request `number`; `finish_reason` with the last one. `is_end`: it is no part of the answer, but an end token
    or none.

    `num_cached`: tokens of the prompt that did not have to be computed. `answer`: which of several to one prompt.
    `prompt`: with the first event of a request that asked for `prompt_logprobs`, the prompt's tokens from the second on.
    """

    number: int
    chosen: Chosen
    finish_reason: FinishReason | None = None
    is_end: bool = False
    num_cached: int = 0
    answer: int = 0
    prompt: tuple[Chosen, ...] = ()
