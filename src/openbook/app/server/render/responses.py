"""An answer as /v1/responses gives it: items that open, grow and close. The whole reply is what the last event of a stream holds.

Source of the events: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Literal

from openbook.app.server.answers import Answers
from openbook.app.server.event_stream import sse
from openbook.app.server.json_text import as_json
from openbook.app.server.render.chat import broken_off, logprob_entry
from openbook.app.server.shapes.responses import ResponseBody
from openbook.serving.chat.events import (
    ChatEvent,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallBegun,
    Usage,
)

Said = tuple[str, dict[str, Any]]
_Kind = Literal["message", "reasoning", "function_call"]
_PREFIX: dict[_Kind, str] = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


class ResponseItems:
    """Events of one answer in, events of the API out; `body` is the response as it stands."""

    def __init__(self, asked: ResponseBody, response_id: str, created: int, model: str) -> None:
        self._open: _Kind | None = None
        self.body: dict[str, Any] = _heading(asked, response_id, created, model)

    def begin(self) -> Iterator[Said]:
        yield "response.created", {"response": self._snapshot()}
        yield "response.in_progress", {"response": self._snapshot()}

    def push(self, event: ChatEvent) -> Iterator[Said]:
        match event:
            case TextDelta(text, logprobs):
                yield from self._turn_to("message")
                entries = [logprob_entry(one) for one in logprobs]
                self._part["text"] += text
                self._part["logprobs"] += entries
                yield "response.output_text.delta", self._at_part() | {"delta": text, "logprobs": entries}
            case ReasoningDelta(text):
                yield from self._turn_to("reasoning")
                self._part["text"] += text
                yield "response.reasoning_text.delta", self._at_part() | {"delta": text}
            case ToolCallBegun(_, id_, name):
                yield from self._close("completed")
                yield from self._begin_item("function_call", {"call_id": id_, "name": name, "arguments": ""})
            case ToolCallArguments(_, text):
                self._item["arguments"] += text
                yield "response.function_call_arguments.delta", self._at_item() | {"delta": text}
            case Finished():
                yield from self._finish(event)

    def _finish(self, end: Finished) -> Iterator[Said]:
        reason = end.reason
        is_whole = reason in ("stop", "tool_calls")
        if not self.body["output"] and is_whole:
            yield from self._turn_to("message")  # an answer of no words is a message all the same
        yield from self._close("completed" if is_whole else "incomplete")
        status = "completed" if is_whole else "incomplete" if reason == "length" else "failed"
        self.body |= {"status": status, "usage": _usage(end.usage)}
        if reason == "length":
            self.body["incomplete_details"] = {"reason": "max_output_tokens"}
        if status == "failed":
            code = "invalid_prompt" if end.by_request else "server_error"
            self.body["error"] = {"code": code, "message": end.message}
        yield f"response.{status}", {"response": self._snapshot()}

    @property
    def _item(self) -> dict[str, Any]:
        item: dict[str, Any] = self.body["output"][-1]
        return item

    @property
    def _part(self) -> dict[str, Any]:
        part: dict[str, Any] = self._item["content"][-1]
        return part

    def _at_item(self) -> dict[str, Any]:
        return {"item_id": self._item["id"], "output_index": len(self.body["output"]) - 1}

    def _at_part(self) -> dict[str, Any]:
        return self._at_item() | {"content_index": 0}

    def _turn_to(self, kind: _Kind) -> Iterator[Said]:
        if self._open == kind:
            return
        yield from self._close("completed")
        rest: dict[str, Any] = {"role": "assistant"} if kind == "message" else {"summary": []}
        yield from self._begin_item(kind, rest | {"content": []})
        part: dict[str, Any] = (
            {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            if kind == "message"
            else {"type": "reasoning_text", "text": ""}
        )
        self._item["content"].append(part)
        yield "response.content_part.added", self._at_part() | {"part": _copied(part)}

    def _begin_item(self, kind: _Kind, rest: dict[str, Any]) -> Iterator[Said]:
        item = {"id": f"{_PREFIX[kind]}_{secrets.token_hex(12)}", "type": kind, "status": "in_progress"} | rest
        self.body["output"].append(item)
        self._open = kind
        yield "response.output_item.added", {"output_index": self._at_item()["output_index"], "item": _copied(item)}

    def _close(self, status: str) -> Iterator[Said]:
        if self._open is None:
            return
        item = self._item
        if self._open == "message":
            done = {"text": self._part["text"], "logprobs": list(self._part["logprobs"])}
            yield "response.output_text.done", self._at_part() | done
        elif self._open == "reasoning":
            yield "response.reasoning_text.done", self._at_part() | {"text": self._part["text"]}
        else:
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", self._at_item() | done
        if self._open != "function_call":
            yield "response.content_part.done", self._at_part() | {"part": _copied(self._part)}
        item["status"], self._open = status, None
        yield "response.output_item.done", {"output_index": self._at_item()["output_index"], "item": _copied(item)}

    def _snapshot(self) -> dict[str, Any]:
        return self.body | {"output": [_copied(item) for item in self.body["output"]]}


async def response_chunks(answers: Answers, items: ResponseItems) -> AsyncGenerator[bytes, None]:
    """Server-sent events, numbered from 0."""
    number = 0

    def event(said: Said) -> bytes:
        nonlocal number
        name, rest = said
        data = as_json({"type": name, "sequence_number": number} | rest)
        number += 1
        return sse(data, name)

    async with answers:
        await answers.begun()
        for said in items.begin():
            yield event(said)
        async for _, one in answers.events():
            for said in items.push(one):
                yield event(said)


async def response_whole(answers: Answers, items: ResponseItems) -> dict[str, Any]:
    """The response at its end. `Refused` when the engine broke off."""
    async with answers:
        await answers.begun()
        async for _, event in answers.events():
            for _ in items.push(event):
                pass
            if isinstance(event, Finished) and event.reason == "error":
                raise broken_off(event)
    return items.body


def _heading(asked: ResponseBody, response_id: str, created: int, model: str) -> dict[str, Any]:
    """The specification has no null for `user` and `usage`: they come when there is something to say."""
    said = asked.model_dump(by_alias=True, exclude_none=True)
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": asked.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
        "store": False,
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "text": {"format": said.get("text", {}).get("format", {"type": "text"})},
        "tool_choice": said.get("tool_choice", "auto"),
        "tools": [{"description": None, "strict": None, "parameters": None} | one for one in said.get("tools", [])],
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "truncation": "disabled",
    } | ({} if asked.user is None else {"user": asked.user})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.prompt - usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def _copied(item: dict[str, Any]) -> dict[str, Any]:
    """As it is now: it goes on growing."""
    return {name: [dict(one) for one in value] if name == "content" else value for name, value in item.items()}
