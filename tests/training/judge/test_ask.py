"""Questions whose answer is one of a few words."""

from __future__ import annotations

import pytest

from doubles import ScriptedModel
from openbook.core.messages import ChoiceFormat
from openbook.training.judge.ask import Asking, Question, ask, read_choice

AB = ("A", "B")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", "A"), (" b.\n", "B"), ("**B**", "B"), ("Answer A", "A"), ("The better answer is B.", "B"), ("Verdict: A", "A"),
        ("答案是B。", "B"), ("回答 A", "A"), ("A is vague.\nB is right.\n\n[[B]]", "B"), ("[[A]] no, [[b]]", "B"),
        ("B\nbecause A is wrong", "B"), ("I compared both.\nVerdict: B", "B"), ("A or B", None), ("Both", None), ("", None),
        ("[[C]]", None), ("A better way exists", None),
    ],
)  # fmt: skip
def test_verdicts_are_read(text: str, choice: str | None) -> None:
    assert read_choice(text, AB) == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer A:\nIt is short.\n\nAnswer B:\nIt is long.\n\nVerdict: B", "B"), ("Answer A:\nIt is short.", None),
        ("B\nbecause it is longer", None), ("A is short.\nB", "B"), ("Answer A:\nlong.\n[[B]]\nThat is all.", "B"), ("B", "B"),
    ],
)  # fmt: skip
def test_behind_reasons_the_first_line_is_no_verdict(text: str, choice: str | None) -> None:
    assert read_choice(text, AB, has_reasons=True) == choice


def test_two_lines_that_name_different_choices_are_nonsense() -> None:
    assert read_choice("A\nno:\nB", AB) is None
    model = ScriptedModel("Answer A:\nIt is short.", "B")
    ((_, reply),) = ask(model, [Question("q", AB)], Asking(reasons=50))
    assert (reply.choice, reply.nonsense, reply.requests) == ("B", 1, 2)


@pytest.mark.parametrize(
    ("text", "points"), [("7", "7"), ("10", "10"), ("Score: 8/10", "8"), ("9 分", "9"), ("11", None), ("0", None)]
)
def test_points_are_read(text: str, points: str | None) -> None:
    assert read_choice(text, tuple(map(str, range(1, 11)))) == points


def test_nonsense_is_asked_again_under_a_grammar() -> None:
    model = ScriptedModel("A", "well, well", "B", "B")
    replies = dict(ask(model, [Question(f"q{one}", AB) for one in range(3)], Asking()))
    assert [replies[place].choice for place in range(3)] == ["A", "B", "B"]
    assert [replies[place].nonsense for place in range(3)] == [0, 1, 0]
    assert [replies[place].requests for place in range(3)] == [1, 2, 1]
    assert [one.response_format for one in model.requests] == [None, None, None, ChoiceFormat(AB)]
    assert "q1" in model.requests[3].messages[0].text


def test_what_stays_nonsense_has_no_choice() -> None:
    ((_, reply),) = ask(ScriptedModel("hm", "hm"), [Question("q", AB)], Asking())
    assert (reply.choice, reply.nonsense, reply.requests, reply.text) == (None, 2, 2, "hm")


def test_a_grammar_from_the_first() -> None:
    model = ScriptedModel("hm")
    ((_, reply),) = ask(model, [Question("q", AB)], Asking(is_constrained=True))
    assert (reply.choice, reply.requests) == (None, 1)
    assert model.requests[0].response_format == ChoiceFormat(AB)


def test_reasons_come_before_the_verdict() -> None:
    model = ScriptedModel("Because.\n[[B]]")
    ((_, reply),) = ask(model, [Question("为什么", AB, "zh")], Asking(reasons=200))
    assert reply.choice == "B"
    assert model.requests[0].sampling.max_tokens > 200
    assert "[[A]] 或 [[B]]" in model.requests[0].messages[0].text


def test_tokens_are_counted_where_the_model_does_not() -> None:
    ((_, reply),) = ask(ScriptedModel("A"), [Question("one two three", AB)], Asking())
    assert reply.tokens >= 4
