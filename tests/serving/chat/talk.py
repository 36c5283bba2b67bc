"""Tokenizers of every chat format, and answers of an engine that says what it is told to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lm.tokenizers.chats import ENDS, chat_tokenizer
from openbook.core.messages import ChatRequest, Message, SamplingParams, ToolDefinition
from openbook.lm.tokenizers.templates import chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.serving.chat.events import ChatEvent
from openbook.serving.chat.prepare import Prepared
from openbook.serving.chat.reply import Reply
from openbook.serving.engine.events import Chosen, Event, FinishReason

TOOLS = (
    ToolDefinition(
        "weather",
        "Weather of a place",
        {
            "type": "object",
            "properties": {
                "place": {"type": "string", "maxLength": 6},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
    ),
    ToolDefinition(
        "clock",
        "Time",
        {
            "type": "object",
            "properties": {"zone": {"enum": ["a", "b"]}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    ),
)


@cache
def tokenizer(form: str) -> Tokenizer:
    """Of bytes, with the template `form` and every format's special tokens."""
    with TemporaryDirectory() as folder:
        return chat_tokenizer(Path(folder), chat_template(form), *ENDS[form])


def asked(*, sampling: SamplingParams | None = None, **more: object) -> ChatRequest:
    return ChatRequest((Message.of("user", "Hello?"),), sampling or SamplingParams(), **more)  # type: ignore[arg-type]


def events(tokens: Iterable[int], reason: FinishReason = "stop", end: int | None = None) -> list[Event]:
    """What an engine says of these tokens: `end` is an end token behind them."""
    found = [Event(0, Chosen(token, -0.5, ((token, -0.5),))) for token in tokens]
    if end is not None:
        return [*found, Event(0, Chosen(end, -0.1), reason, is_end=True)]
    return [*found[:-1], found[-1]._replace(finish_reason=reason)]


def told(one: Tokenizer, prepared: Prepared, tokens: Iterable[int], **more: object) -> tuple[Reply, list[ChatEvent]]:
    reply = Reply(one, prepared, "r1")
    said = [part for event in events(tokens, **more) for part in reply.push(event)]  # type: ignore[arg-type]
    return reply, said
