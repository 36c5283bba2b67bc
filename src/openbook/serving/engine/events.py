"""What the engine says of a request, token by token: plain data, so that whoever reads it needs no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

FinishReason = Literal["stop", "length", "abort", "error"]
"""`error`: the request could not be computed (its logits were no numbers, its grammar left no token); the others go on."""

NO_TOKEN = -1
"""Stands for the token of an event that says "error"."""


class Chosen(NamedTuple):
    """`logprob` of `token`, and the likeliest (token, log-probability), both before temperature and after penalties."""

    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


class Event(NamedTuple):
    """A token of request `number`; `finish_reason` with the last one. `is_end`: it is an end token, no part of the answer.

    `num_cached`: tokens of the prompt that did not have to be computed.
    """

    number: int
    chosen: Chosen
    finish_reason: FinishReason | None = None
    is_end: bool = False
    num_cached: int = 0
