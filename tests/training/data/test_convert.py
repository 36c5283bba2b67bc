"""What is written in another form reads back as the row that it was."""

from __future__ import annotations

import pytest

from openbook.training.data.convert import TARGETS, converted
from openbook.training.data.formats import format_of, rows_of
from openbook.training.data.row import Chat, Completion, Pair, Preference, Question, Row, Text

CALL = {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
PLAIN = Chat(
    (
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "r"},
        {"role": "assistant", "content": "b"},
    )
)
TOOLS = Chat(
    (
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "a"},
    ),
    ({"type": "function", "function": {"name": "add"}},),
)
THOUGHT = Chat(({"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "hm"}))


@pytest.mark.parametrize(
    ("row", "to"),
    [
        (PLAIN, "messages"),
        (PLAIN, "sharegpt"),
        (PLAIN, "alpaca"),
        (PLAIN, "completion"),
        (TOOLS, "messages"),
        (TOOLS, "sharegpt"),
        (THOUGHT, "messages"),
        (Text("t"), "text"),
        (Completion("p", "c"), "completion"),
        (Pair("q", ("p", "o"), ("n",)), "pairs"),
    ],
    ids=str,
)
def test_nothing_is_lost(row: Row, to: str) -> None:
    written = converted(row, to)
    form = format_of(written)
    assert form == to
    assert list(rows_of(written, form)) == [row]


@pytest.mark.parametrize(
    ("row", "to"),
    [
        (TOOLS, "alpaca"),
        (TOOLS, "completion"),
        (THOUGHT, "sharegpt"),
        (Text("t"), "messages"),
        (PLAIN, "pairs"),
        (Question("1", "T", "c", "q", ()), "pairs"),
        (Preference(PLAIN.messages, (), PLAIN.messages[-1:]), "messages"),
    ],
)
def test_what_a_form_cannot_hold_is_refused(row: Row, to: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        converted(row, to)


def test_questions_and_preferences() -> None:
    row = Question("1", "T", "the sea is wide", "how?", ((11, "wide"), (11, "wide")))
    assert converted(row, "pairs") == {
        "query": "how?",
        "positive": "the sea is wide",
        "title": "T",
        "answers": ["wide"],
    }
    assert converted(row, "text") == {"text": "the sea is wide"}
    liked = Preference(PLAIN.messages[:2], PLAIN.messages[2:3], ())
    assert converted(liked, "messages") == {"messages": list(PLAIN.messages[:3])}
    assert set(TARGETS) == {"text", "messages", "sharegpt", "alpaca", "completion", "pairs"}
