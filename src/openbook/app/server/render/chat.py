"""Answers as /v1/chat/completions gives them: chunks of a stream, or one reply. Both read the same events.

Source of the shapes: https://platform.openai.com/docs/api-reference/chat/object and .../chat/streaming
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from openbook.app.server.answers import Answers
from openbook.app.server.errors import Refused, error_body
from openbook.app.server.event_stream import sse
from openbook.app.server.json_text import as_json
from openbook.serving.chat.events import (
    ChatEvent,
    Finished,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallArguments,
    ToolCallBegun,
    Usage,
)
from openbook.serving.chat.whole import Whole

DONE = sse(b"[DONE]")


@dataclass(frozen=True)
class Heading:
    """What every chunk and every reply begins with. `created`: seconds since 1970."""

    id: str
    created: int
    model: str

    def of(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


async def chat_chunks(
    answers: Answers, heading: Heading, count: int, *, wants_usage: bool, wants_logprobs: bool
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: the roles, pieces as they come, how each answer ended, the usage, and the end."""

    def chunk(index: int, delta: dict[str, Any], logprobs: Sequence[TokenLogprob] = (), **rest: Any) -> bytes:
        said = {"content": [logprob_entry(one) for one in logprobs], "refusal": None} if wants_logprobs else None
        choice = {"index": index, "delta": delta, "logprobs": said if logprobs else None, "finish_reason": None} | rest
        usage = {"usage": None} if wants_usage else {}
        return sse(as_json(heading.of("chat.completion.chunk") | {"choices": [choice]} | usage))

    async with answers:
        await answers.begun()
        for index in range(count):
            yield chunk(index, {"role": "assistant", "content": ""})
        async for index, event in answers.events():
            if isinstance(event, Finished):
                if event.reason == "error":
                    yield broken_event(event)
                    return
                yield chunk(index, {}, finish_reason=event.reason)
            else:
                yield chunk(index, delta_of(event), event.logprobs if isinstance(event, TextDelta) else ())
        if wants_usage:
            end = heading.of("chat.completion.chunk") | {"choices": [], "usage": usage_entry(answers.usage())}
            yield sse(as_json(end))
        yield DONE


def delta_of(event: ChatEvent) -> dict[str, Any]:
    match event:
        case TextDelta(text):
            return {"content": text}
        case ReasoningDelta(text):
            return {"reasoning_content": text}
        case ToolCallBegun(index, id_, name):
            call = {"index": index, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
            return {"tool_calls": [call]}
        case ToolCallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
        case Finished():
            return {}


async def chat_whole(answers: Answers, heading: Heading, count: int, *, wants_logprobs: bool) -> dict[str, Any]:
    """One reply. `Refused` when the engine broke off."""
    wholes = await gathered(answers, count)
    choices = [
        {
            "index": index,
            "message": _message(whole),
            "logprobs": {"content": [logprob_entry(one) for one in whole.logprobs], "refusal": None}
            if wants_logprobs
            else None,
            "finish_reason": whole.finished.reason if whole.finished else None,
        }
        for index, whole in enumerate(wholes)
    ]
    return heading.of("chat.completion") | {"choices": choices, "usage": usage_entry(answers.usage())}


async def gathered(answers: Answers, count: int) -> list[Whole]:
    """Every answer whole, by index. `Refused` for one that was broken off."""
    wholes = [Whole() for _ in range(count)]
    async with answers:
        await answers.begun()
        async for index, event in answers.events():
            wholes[index].add(event)
            if isinstance(event, Finished) and event.reason == "error":
                raise broken_off(event)
    return wholes


def broken_off(end: Finished) -> Refused:
    """Of an answer that ended with an error: 400 where the form that was asked for cannot be followed."""
    if end.by_request:
        return Refused(400, f"{end.message}: change the schema or grammar", code="grammar_failed")
    return Refused(500, end.message, code="broken_off")


def broken_event(end: Finished) -> bytes:
    """The same as the last event of a stream."""
    error = broken_off(end)
    return sse(as_json(error_body(error.status_code, error.detail, code=error.code)))


def _message(whole: Whole) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in whole.tool_calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": whole.text or (None if calls else ""), "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if whole.reasoning:
        message["reasoning_content"] = whole.reasoning
    return message


def logprob_entry(one: TokenLogprob) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": list(raw)} for token, raw, value in one.likeliest]
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.raw), "top_logprobs": top}


def usage_entry(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
