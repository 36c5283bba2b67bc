"""Rows of one form written as another, where nothing is lost that the other form could hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from openbook.training.data.prompts import question_chat
from openbook.training.data.row import (
    Chat,
    Completion,
    Message,
    Pair,
    Preference,
    Question,
    Row,
    Solution,
    as_text,
    text_of,
)

_FROM = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}


def _as_chat(row: Row) -> Chat:
    match row:
        case Chat():
            return row
        case Question():
            return question_chat(row)
        case Preference():
            if not row.chosen:
                raise ValueError("nobody liked this answer: there is no chat to learn from")
            return Chat((*row.prompt, *row.chosen))
        case Solution():
            return Chat((*row.prompt, {"role": "assistant", "content": "\n".join(row.steps)}))
        case Completion():
            return Chat(({"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.completion}))
        case _:
            raise ValueError(f"{type(row).__name__.lower()} is no chat")


def _text(row: Row) -> dict[str, Any]:
    return {"text": as_text(row)}


def _messages(row: Row) -> dict[str, Any]:
    chat = _as_chat(row)
    return {"messages": list(chat.messages)} | ({"tools": list(chat.tools)} if chat.tools else {})


def _sharegpt(row: Row) -> dict[str, Any]:
    chat = _as_chat(row)
    turns = [turn for message in chat.messages for turn in _turns(message)]
    return {"conversations": turns} | ({"tools": json.dumps(chat.tools, ensure_ascii=False)} if chat.tools else {})


def _turns(message: Message) -> list[dict[str, str]]:
    if message.get("reasoning_content"):
        raise ValueError("sharegpt has no place for what the assistant thought")
    turns = [{"from": _FROM[message["role"]], "value": text_of({"content": message["content"]})}]
    if calls := [one["function"] for one in message.get("tool_calls") or ()]:
        spoken = turns if message["content"] else []
        called = calls[0] if len(calls) == 1 else calls
        return [*spoken, {"from": "function_call", "value": json.dumps(called, ensure_ascii=False)}]
    return turns


def _alpaca(row: Row) -> dict[str, Any]:
    """Earlier turns as its history."""
    chat = _as_chat(row)
    said = list(chat.messages)
    system = text_of(said.pop(0)) if said[0]["role"] == "system" else ""
    if chat.tools or [one["role"] for one in said] != ["user", "assistant"] * (len(said) // 2) or not said:
        raise ValueError("alpaca has questions and answers in turn, and no tools")
    turns = [text_of(one) for one in said]
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    asked, answered = pairs.pop()
    plain: dict[str, Any] = {"instruction": asked, "input": "", "output": answered}
    return plain | ({"system": system} if system else {}) | ({"history": pairs} if pairs else {})


def _completion(row: Row) -> dict[str, Any]:
    if isinstance(row, Completion):
        return {"prompt": row.prompt, "completion": row.completion}
    chat = _as_chat(row)
    if chat.tools or chat.messages[-1]["role"] != "assistant":
        raise ValueError("a completion is what the assistant says last, without tools")
    return {"prompt": list(chat.messages[:-1]), "completion": [chat.messages[-1]]}


def _pairs(row: Row) -> dict[str, Any]:
    """Of questions about a passage: the passage is the positive, its article the title."""
    match row:
        case Pair():
            return {"query": row.query, "positives": list(row.positives), "negatives": list(row.negatives)}
        case Question() if row.answers:
            answers = list(dict.fromkeys(text for _, text in row.answers))
            return {"query": row.question, "positive": row.context, "title": row.title, "answers": answers}
        case _:
            raise ValueError("there is no query with a text that answers it")


_WRITERS: Mapping[str, Callable[[Row], dict[str, Any]]] = {
    "text": _text,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "completion": _completion,
    "pairs": _pairs,
}
TARGETS = tuple(_WRITERS)


def converted(row: Row, to: str) -> dict[str, Any]:
    """`row` as a JSON object of the form `to`, one of TARGETS. ValueError where it cannot be."""
    return _WRITERS[to](row)
