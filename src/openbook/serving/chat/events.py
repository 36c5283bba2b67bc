"""What an answer is made of, as it comes: one generator of these, and every renderer (streamed, whole) reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChatFinish = Literal["stop", "length", "tool_calls", "error"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token as text and as its `raw` bytes (a token may be a part of a character), with the likeliest in its place."""

    token: str
    raw: bytes
    logprob: float
    likeliest: tuple[tuple[str, bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached`: of the prompt, those that did not have to be computed. `reasoning`: of the answer."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of what is said; `logprobs` of its tokens where they were asked for. May be empty beside logprobs."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what is thought before it is said."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallBegun:
    """`index`: the calls of an answer are counted from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """The next piece of the arguments, JSON."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event. `message`: what went wrong, with "error"; `by_request`: the form that was asked for is at fault."""

    reason: ChatFinish
    usage: Usage
    message: str = ""
    by_request: bool = False


ChatEvent = TextDelta | ReasoningDelta | ToolCallBegun | ToolCallArguments | Finished
