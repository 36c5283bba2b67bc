"""What a row of training data can be, whatever the file looked like that it came from."""

from __future__ import annotations

from typing import Any, NamedTuple

Message = dict[str, Any]
"""Of a chat, as chat templates read it: role, content, and where there are some tool_calls and reasoning_content."""


class Text(NamedTuple):
    """A document, or a piece of one. `begins`, `ends`: whether the document does so here."""

    text: str
    begins: bool = True
    ends: bool = True


class Chat(NamedTuple):
    """`tools`: functions that the assistant may call, as `{"type": "function", "function": {...}}`."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


class Completion(NamedTuple):
    """A text and what follows it."""

    prompt: str
    completion: str


class Pair(NamedTuple):
    """A query, texts that answer it, and texts that do not."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()


class Preference(NamedTuple):
    """A chat and two ends of it, the better one and the worse one. Unpaired rows have only one of the two. An end may be the
    whole chat again. `margin`: by how much the one is better, where somebody said.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    margin: float | None = None


class Solution(NamedTuple):
    """A chat, and steps that answer it; `labels`: how right each is, 0 to 1."""

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    labels: tuple[float, ...]


class Question(NamedTuple):
    """A question about a passage. `answers`: (first code point in `context`, text); none where the passage has no answer."""

    id: str
    title: str
    context: str
    question: str
    answers: tuple[tuple[int, str], ...]


Row = Text | Chat | Completion | Pair | Preference | Solution | Question


def as_text(row: Row) -> str:
    """All that a row says, as plain text: for statistics, and to learn a language from. Of a question its passage."""
    match row:
        case Text():
            return row.text
        case Chat():
            return _said(row.messages)
        case Completion():
            return row.prompt + row.completion
        case Pair():
            return "\n".join((row.query, *row.positives))
        case Preference():
            return _said((*row.prompt, *(row.chosen or row.rejected)))
        case Solution():
            return "\n".join((_said(row.prompt), *row.steps))
        case Question():
            return row.context


def text_of(message: Message) -> str:
    """What is said in a message, calls of tools included."""
    content = message.get("content") or ""
    parts = content if isinstance(content, list) else [{"text": content}]
    calls = [str(call["function"]) for call in message.get("tool_calls") or ()]
    return "\n".join([*(str(part.get("text", "")) for part in parts if part.get("text")), *calls])


def _said(messages: tuple[Message, ...]) -> str:
    return "\n\n".join(text_of(message) for message in messages)
