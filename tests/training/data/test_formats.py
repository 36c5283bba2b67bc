"""Each form is told by its keys, and becomes the row that it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData, UsageError
from openbook.training.data.formats import Format, format_of, rows_of
from openbook.training.data.reading import data_files, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Chat, Completion, Pair, Preference, Question, Row, Text

CALL = {"name": "add", "arguments": {"a": 1}}
CALLED = [{"id": "call_0", "type": "function", "function": CALL}]
TOOL = {"name": "add", "parameters": {"type": "object"}}


def said(*turns: str) -> tuple[dict[str, str], ...]:
    """user, assistant, user, ..."""
    return tuple({"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns))


CASES: list[tuple[Format, dict[str, Any], Row]] = [
    ("text", {"text": "a", "id": 3}, Text("a")),
    ("text", {"content": "a"}, Text("a")),
    ("alpaca", {"instruction": "q", "output": "a"}, Chat(said("q", "a"))),
    ("alpaca", {"instruction": "q", "input": "i", "output": "a", "history": []}, Chat(said("q\ni", "a"))),
    (
        "alpaca",
        {"instruction": "q", "input": "", "output": "a", "system": "s", "history": [["x", "y"]]},
        Chat(({"role": "system", "content": "s"}, *said("x", "y", "q", "a"))),
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        Chat(said("q", "a")),
    ),
    (
        "sharegpt",
        {
            "system": "s",
            "tools": json.dumps([TOOL]),
            "conversations": [
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "2"},
            ],
        },
        Chat(
            (
                {"role": "system", "content": "s"},
                {"role": "assistant", "content": "", "tool_calls": CALLED},
                {"role": "tool", "content": "2"},
            ),
            ({"type": "function", "function": TOOL},),
        ),
    ),
    (
        "messages",
        {
            "messages": [
                {"role": "developer", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "text", "value": "?"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning": "hm",
                    "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1}'}}],
                },
                {"role": "tool", "content": "2", "tool_call_id": "call_0"},
            ],
            "tools": [{"type": "function", "function": TOOL}],
        },
        Chat(
            (
                {"role": "system", "content": "s"},
                {"role": "user", "content": "q?"},
                {"role": "assistant", "content": "", "tool_calls": CALLED, "reasoning_content": "hm"},
                {"role": "tool", "content": "2", "tool_call_id": "call_0"},
            ),
            ({"type": "function", "function": TOOL},),
        ),
    ),
    (
        "messages",
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "a"}]}
            ]
        },
        Chat(({"role": "assistant", "content": "a", "reasoning_content": "hm"},)),
    ),
    ("completion", {"prompt": "p", "completion": "c"}, Completion("p", "c")),
    ("completion", {"question": "q", "answer": "a"}, Chat(said("q", "a"))),
    (
        "completion",
        {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
        Chat(said("q", "a")),
    ),
    ("pairs", {"query": "q", "positive": "p", "negatives": ["n", "m"]}, Pair("q", ("p",), ("n", "m"))),
    ("pairs", {"query": "q", "pos": ["p", "o"]}, Pair("q", ("p", "o"))),
    (
        "preference",
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        Preference(said("q"), said("", "a")[1:], said("", "b")[1:]),
    ),
    (
        "preference",
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        Preference((), said("q", "a"), said("q", "b")),
    ),
    (
        "preference",
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        Preference(said("q"), said("", "a")[1:], said("", "b")[1:]),
    ),
    ("preference", {"messages": list(said("q", "a")), "label": False}, Preference(said("q"), (), said("", "a")[1:])),
]


@pytest.mark.parametrize(("form", "record", "row"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_form(form: Format, record: dict[str, Any], row: Row) -> None:
    assert format_of(record) == form
    assert list(rows_of(record, form)) == [row]


def test_squad_of_both_versions() -> None:
    asked = [
        {"id": "1", "question": "q?", "answers": [{"answer_start": 2, "text": "c"}]},
        {"id": "2", "question": "r?", "is_impossible": True, "answers": [], "plausible_answers": [{"text": "c"}]},
    ]
    record = {"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "a c", "qas": asked}]}]}
    assert format_of(record) == "squad"
    assert list(rows_of(record, "squad")) == [
        Question("1", "T", "a c", "q?", ((2, "c"),)),
        Question("2", "T", "a c", "r?", ()),
    ]


@pytest.mark.parametrize(
    ("form", "record", "reason"),
    [
        ("messages", {"messages": [{"role": "bot", "content": "a"}]}, "role 'bot'"),
        ("messages", {"messages": []}, "no messages"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images"),
        ("sharegpt", {"conversations": [{"from": "nobody", "value": "a"}]}, "'nobody'"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "{"}]}, "Expecting"),
        ("alpaca", {"instruction": "q", "output": None}, "'output' is NoneType"),
        ("alpaca", {"instruction": "q", "output": "a", "images": ["1.jpg"]}, "images"),
        ("pairs", {"query": "q", "positive": []}, "no positive"),
        ("preference", {"chosen": "Hello", "rejected": "Human: q"}, "transcript"),
        ("text", {"text": 3}, "'text' is int"),
        ("text", [1], "list, no object"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(form: Format, record: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(rows_of(record, form))


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_the_first_row_that_is_known_tells_the_form(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", "{", {"id": 1}, {"instruction": "q", "output": "a"})
    assert data_files([path])[0].form == "alpaca"
    with pytest.raises(BadData, match="cannot be told from id"):
        data_files([written(tmp_path / "b.jsonl", {"id": 1})])
    assert data_files([tmp_path / "b.jsonl"], "pairs")[0].form == "pairs"
    with pytest.raises(UsageError, match="is not there"):
        data_files([tmp_path / "c.jsonl"])
    written(tmp_path / "d.txt", "words")
    with pytest.raises(BadData, match="plain text, not pairs"):
        data_files([tmp_path / "d.txt"], "pairs")


def test_broken_rows_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    good = {"instruction": "q", "output": "a"}
    path = written(tmp_path / "a.jsonl", *[good] * 98, "{", {"instruction": 3, "output": "a"})
    receipt = Receipt()
    assert len(list(read_rows(data_files([path]), receipt))) == 98
    assert (receipt.rows, receipt.broken) == (100, 2)
    assert receipt.named["broken"][0].startswith(f"{path}:99: no JSON")
    assert f"{path}:100: 'instruction' is int" in receipt.named["broken"][1]
    receipt.finish(0.02)
    with pytest.raises(BadData, match="2 of 100 rows are broken"):
        receipt.finish(0.01)
    path = written(tmp_path / "b.jsonl", *[good] * 50_000, *["{"] * 101, good)
    with pytest.raises(BadData, match=r"101 of 50,101 rows are broken; first .*b\.jsonl:50001: no JSON"):
        list(read_rows(data_files([path]), Receipt()))


def test_documents_of_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\ufeffone\r\ntwo\n\n\nthree\n", "utf-8")
    files = data_files([path])
    assert [one.row for one in read_rows(files, Receipt())] == [Text("one\r\ntwo\n\n\nthree\n")]
    assert [one.row for one in read_rows(files, Receipt(), "blank-line")] == [Text("one\r\ntwo"), Text("three")]
    assert [one.row for one in read_rows(files, Receipt(), "line")] == [Text("one"), Text("two"), Text("three")]


def test_a_long_document_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a line of words\n" * 20_000, "utf-8")
    receipt = Receipt()
    rows = [one.row for one in read_rows(data_files([path]), receipt)]
    assert "".join(row.text for row in rows if isinstance(row, Text)) == "a line of words\n" * 20_000
    assert [row.begins for row in rows if isinstance(row, Text)] == [True, *[False] * (len(rows) - 1)]
    assert [row.ends for row in rows if isinstance(row, Text)] == [*[False] * (len(rows) - 1), True]
    assert len(rows) > 3
    assert receipt.rows == 1


def test_text_of_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("für".encode("latin-1"))
    with pytest.raises(BadData, match="no UTF-8"):
        list(read_rows(data_files([tmp_path / "a.txt"]), Receipt()))


@pytest.mark.parametrize(
    ("name", "form", "rows"),
    [
        ("llamafactory_demos/alpaca_en_demo.json.gz", "alpaca", 999),
        ("llamafactory_demos/alpaca_zh_demo.json.gz", "alpaca", 1_000),
        ("llamafactory_demos/identity.json", "alpaca", 91),
        ("llamafactory_demos/glaive_toolcall_en_demo.json.gz", "sharegpt", 300),
        ("llamafactory_demos/glaive_toolcall_zh_demo.json.gz", "sharegpt", 300),
        ("llamafactory_demos/reason_tool_use_demo_50.jsonl.gz", "messages", 50),
        ("llamafactory_demos/c4_demo.jsonl.gz", "text", 300),
        ("llamafactory_demos/dpo_en_demo.json.gz", "preference", 300),
        ("llamafactory_demos/dpo_zh_demo.json.gz", "preference", 300),
        ("llamafactory_demos/kto_en_demo.json.gz", "preference", 300),
        ("alpaca/alpaca_5000.json.gz", "alpaca", 5_000),
        ("fastchat_conversations/dummy_conversation.json.gz", "sharegpt", 910),
        ("hh_rlhf_harmless/harmless_base_test_part.jsonl.gz", "preference", 1_156),
        ("gsm8k/train.jsonl.gz", "completion", 7_473),
        ("squad/squad_v2.0_dev_part.json.gz", "squad", 4_186),
    ],
)
def test_real_files(data: Path, name: str, form: str, rows: int) -> None:
    receipt = Receipt()
    files = data_files([data / name])
    assert files[0].form == form
    assert len(list(read_rows(files, receipt))) == rows
    assert not receipt.broken


def one(record: dict[str, Any]) -> Any:
    form = format_of(record)
    assert form is not None
    (row,) = rows_of(record, form)
    return row


def test_a_completion_that_was_liked_or_not_is_a_preference() -> None:
    """As TRL writes unpaired rows; without a label it is a completion."""
    liked = one({"prompt": "Two?", "completion": "Three.", "label": True})
    assert liked.chosen == ({"role": "assistant", "content": "Three."},) and liked.rejected == ()
    asked = [{"role": "user", "content": "Two?"}]
    other = one({"prompt": asked, "completion": [{"role": "assistant", "content": "No."}], "label": False})
    assert other.prompt == tuple(asked) and other.chosen == () and other.rejected[0]["content"] == "No."
    assert format_of({"prompt": "Two?", "completion": "Three."}) == "completion"


def test_a_margin_is_a_number() -> None:
    assert one({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 2}).margin == 2.0
    assert one({"prompt": "a", "chosen": "b", "rejected": "c"}).margin is None
    with pytest.raises(ValueError, match="margin is 'much'"):
        one({"prompt": "a", "chosen": "b", "rejected": "c", "margin": "much"})


@pytest.mark.parametrize("label", ["false", "bad", -1, 0.5, None])
def test_an_answer_whose_label_is_no_truth_value_is_broken(label: Any) -> None:
    """A text is true to Python whatever it says, and a row that forgot its label is not disliked."""
    for row in ({"messages": list(said("q", "a"))}, {"prompt": "q", "completion": "a"}):
        with pytest.raises(ValueError, match="true or false"):
            next(rows_of(row | {"label": label}, "preference"))
        with pytest.raises(ValueError, match="true or false"):
            next(rows_of(row, "preference"))


@pytest.mark.parametrize("name", ["steps", "completions"])
def test_steps_have_a_label_each(name: str) -> None:
    row = one({"prompt": "1 + 2 + 3?", name: ["1 + 2 = 3", "3 + 3 = 7"], "labels": [True, 0.25]})
    assert row.steps == ("1 + 2 = 3", "3 + 3 = 7") and row.labels == (1.0, 0.25)
    for labels in ([True], [True, 2], ["yes", "no"]):
        with pytest.raises(ValueError, match="label"):
            one({"prompt": "1 + 2?", name: ["a", "b"], "labels": labels})
