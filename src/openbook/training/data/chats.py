"""Chats of the common forms as one: messages with roles, tool calls as objects, reasoning apart from what is said.

In reading order: OpenAI's messages, ShareGPT's conversations, transcripts of "Human:" and "Assistant:", tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from openbook.training.data.row import Message

ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "function_call": "function_call",
    "tool_call": "function_call",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def message_of(given: Any) -> Message:
    """A message of OpenAI's form. ValueError says what is wrong with it."""
    if not isinstance(given, dict):
        raise ValueError(f"a message is {type(given).__name__}, no object")
    role = given.get("role")
    if role == "function":
        role = "tool"
    if role not in ROLES:
        raise ValueError(f"a message has the role {role!r}; known are {', '.join(sorted(ROLES))}")
    said, thought, calls = _parts(given.get("content"))
    thought = next((str(given[name]) for name in _REASONING if given.get(name)), thought)
    calls += list(given.get("tool_calls") or ())
    if given.get("function_call"):
        calls.append(given["function_call"])
    message: Message = {"role": "system" if role == "developer" else role, "content": said}
    if calls:
        message["tool_calls"] = [call_of(call, number) for number, call in enumerate(calls)]
    if thought:
        message["reasoning_content"] = thought
    return message | {name: given[name] for name in ("tool_call_id", "name") if isinstance(given.get(name), str)}


def call_of(given: Any, number: int = 0) -> dict[str, Any]:
    """A call of a tool, its arguments as an object where they are one."""
    if isinstance(given, str):
        given = json.loads(given)
    inner = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ValueError("a call of a tool has no name")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if isinstance(arguments, str):
        with suppress(ValueError):  # a text that is no JSON is shown as the model wrote it
            arguments = json.loads(arguments)
    identity = given.get("id") if isinstance(given.get("id"), str) else f"call_{number}"
    return {"id": identity, "type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def spoken(given: Any) -> Message:
    """A turn of ShareGPT's form: {"from": who, "value": what}."""
    if not isinstance(given, dict):
        raise ValueError(f"a turn is {type(given).__name__}, no object")
    who, said = given.get("from", given.get("role")), given.get("value", given.get("content"))
    role = _SPEAKERS.get(str(who))
    if role is None or not isinstance(said, str):
        raise ValueError(f"a turn is from {who!r} and says {type(said).__name__}; known are {', '.join(_SPEAKERS)}")
    if role != "function_call":
        return {"role": role, "content": said}
    called = json.loads(said)
    calls = called if isinstance(called, list) else [called]
    return {"role": "assistant", "content": "", "tool_calls": [call_of(call, at) for at, call in enumerate(calls)]}


def transcript(text: str) -> tuple[Message, ...]:
    """A chat that is written as "Human: ..." and "Assistant: ...", with an empty line before each."""
    found = list(_TURN.finditer(text))
    if not found or text[: found[0].start()].strip():
        raise ValueError("the transcript does not begin with 'Human:' or 'Assistant:'")
    ends = [*(one.start() for one in found[1:]), len(text)]
    role = {"Human": "user", "Assistant": "assistant"}
    return tuple(
        {"role": role[one[1]], "content": text[one.end() : end].strip()} for one, end in zip(found, ends, strict=True)
    )


def tools_of(given: Any) -> tuple[dict[str, Any], ...]:
    """Functions as OpenAI writes them, also where they came as a text of JSON or bare."""
    if isinstance(given, str):
        given = json.loads(given) if given.strip() else None
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise ValueError("tools are no list of objects")
    return tuple(
        one if isinstance(one.get("function"), dict) else {"type": "function", "function": one} for one in given
    )


def checked(messages: Sequence[Message]) -> tuple[Message, ...]:
    """ValueError for a chat without messages."""
    if not messages:
        raise ValueError("the chat has no messages")
    return tuple(messages)


def _parts(content: Any) -> tuple[str, str, list[Any]]:
    """What is said, what is thought, and what is called, of a text or of a list of parts."""
    if content is None or isinstance(content, str):
        return content or "", "", []
    if not isinstance(content, list):
        raise ValueError(f"the content of a message is {type(content).__name__}")
    said: list[str] = []
    thought: list[str] = []
    calls: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        inner = part.get(kind, part.get("text", part.get("value"))) if isinstance(part, dict) and kind else part
        if kind in ("text", "output_text", "input_text") or isinstance(part, str):
            said.append(_text(inner if inner is not None else part.get("value")))
        elif kind in ("reasoning", "thinking"):
            thought.append(_text(inner))
        elif kind in ("tool_call", "function_call"):
            calls.append(inner)
        else:
            raise ValueError(f"a part of the type {kind!r} is no text: images and sounds cannot be learned from")
    return "".join(said), "\n".join(thought), calls


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a part of a message holds {type(value).__name__}, no text")
    return value
