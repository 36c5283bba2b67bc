"""Prompts for a teacher: rows of JSON lines that ask something, each once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData
from openbook.core.messages import Message as ChatMessage
from openbook.core.messages import TextPart, ToolCall
from openbook.training.data.chats import message_of
from openbook.training.data.records import records
from openbook.training.data.row import Message, text_of

ASKED = ("prompt", "messages", "conversation", "question", "instruction")
DUPLICATE = "asked already"


class Prompt(NamedTuple):
    """`key`: a hash of what is asked. `row`: as the file has it, for verifiers."""

    key: str
    place: str
    messages: tuple[Message, ...]
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Prompts:
    """`left_out`: reason -> how many, of which `places` names the first."""

    prompts: tuple[Prompt, ...]
    left_out: Mapping[str, int]
    places: Mapping[str, str]


def read_prompts(paths: Sequence[Path], system: str | None = None, *, max_broken: float = 0.01) -> Prompts:
    """The prompts of files of rows, in order; one that asks what an earlier one asked is left out. `system`: what the teacher is
    told first, where a row does not say it.

    BadData where nothing is left, or more than a share of `max_broken` is no row with a prompt.
    """
    found: dict[str, Prompt] = {}
    left_out, places, count, broken = Counter[str](), dict[str, str](), 0, 0
    for record in (one for path in paths for one in records(path)):
        count += 1
        try:
            if record.reason:
                raise ValueError(record.reason)
            messages = asked_of(record.value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason, broken = f"broken: {error}", broken + 1
        else:
            if system and messages[0]["role"] != "system":
                messages = ({"role": "system", "content": system}, *messages)
            key = key_of(messages)
            if key not in found:
                found[key] = Prompt(key, record.place, messages, record.value)
                continue
            reason = DUPLICATE
        left_out[reason] += 1
        places.setdefault(reason, record.place)
    if broken > max_broken * count:
        worst = next(reason for reason in left_out if reason.startswith("broken"))
        raise BadData(f"{broken:,} of {count:,} rows are broken, the first at {places[worst]}: {worst}", "mend them")
    if not found:
        raise BadData("there are no prompts", f"give rows with {', '.join(ASKED)}")
    return Prompts(tuple(found.values()), dict(left_out), places)


def asked_of(record: Any) -> tuple[Message, ...]:
    """A chat that is to be answered; answers at its end are left out. ValueError for a row that asks nothing."""
    if not isinstance(record, dict):
        raise ValueError(f"a row is {type(record).__name__}, no object")
    name = next((one for one in ASKED if one in record), None)
    if name is None:
        raise ValueError(f"a row has none of {', '.join(ASKED)}")
    asked = record[name]
    if isinstance(asked, str) and asked.strip():
        text = "\n".join(filter(None, (asked, record.get("input") if name == "instruction" else None)))
        system = record.get("system")
        before = ({"role": "system", "content": system},) if isinstance(system, str) and system else ()
        return (*before, {"role": "user", "content": text})
    if not isinstance(asked, list):
        raise ValueError(f"{name} is no text and no chat")
    messages = [message_of(one) for one in asked]
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not any(text_of(one).strip() for one in messages if one["role"] != "system"):
        raise ValueError(f"{name} asks nothing")
    return tuple(messages)


def key_of(messages: Sequence[Message]) -> str:
    return hashlib.blake2b(json.dumps(list(messages), sort_keys=True).encode(), digest_size=12).hexdigest()


def chat_messages(messages: Sequence[Message]) -> tuple[ChatMessage, ...]:
    """As a `ChatModel` is asked."""
    return tuple(_chat_message(one) for one in messages)


def _chat_message(message: Message) -> ChatMessage:
    calls = tuple(
        ToolCall(one.get("id", ""), one["function"]["name"], json.dumps(one["function"]["arguments"]))
        for one in message.get("tool_calls") or ()
    )
    said = text_of({**message, "tool_calls": ()})
    content = (TextPart(said),) if said else ()
    return ChatMessage(
        message["role"], content, calls, message.get("tool_call_id"), message.get("reasoning_content", "")
    )
