"""SQuAD's files: what is read, where answers stand, what is no such file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import BadData
from openbook.training.data.squad import Answer, check_disjoint, likeliest_place, read_squad

_LONG = "Nothing more was said of it, by nobody, for many a year. " * 3


def _file(path: Path, *articles: Any) -> Path:
    path.write_text(json.dumps({"data": list(articles)}), "utf-8")
    return path


def _article(title: str, context: str, *answers: tuple[str, int], question: str = "What?") -> dict[str, Any]:
    said = [{"text": text, "answer_start": start} for text, start in answers]
    return {"title": title, "paragraphs": [{"context": context, "qas": [{"question": question, "answers": said}]}]}


def test_answers_stand_where_they_are_said_to_be_or_at_their_first_place(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.json", _article("A", "one two three", ("two", 4), ("three", 1)))
    (question,) = read_squad([path]).questions
    assert question.answers == (Answer("two", 4), Answer("three", 8))


def test_an_answer_that_is_not_in_the_passage_is_counted(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.json", _article("A", "one", ("two", 0)), _article("B", "one", ("one", 0)))
    found = read_squad([path])
    assert found.lost == 1 and [found.articles[one.passage] for one in found.questions] == ["B"]


def test_a_question_without_an_answer_is_kept_and_gz_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"data": [_article("A", "one")]}).encode()))
    (question,) = read_squad([path]).questions
    assert question.answers == ()


@pytest.mark.parametrize(
    ("passage", "answer", "question", "start"),
    [
        (
            f"In 1998 it rained. {_LONG}The war began in 1998 there.",
            "1998",
            "When did the war begin?",
            37 + len(_LONG) - 1,
        ),
        ("a cat had it", "a", "Who?", 0),
        ("there is a cat", "a", "Who?", 9),  # not inside "a cat" only: a word of its own
        ("catalogue", "cat", "Who?", 0),  # nowhere a word of its own
    ],
)
def test_short_answers_stand_among_the_words_of_the_question(
    passage: str, answer: str, question: str, start: int
) -> None:
    assert likeliest_place(passage, Answer(answer, passage.index(answer)), question).start == start


def test_articles_are_held_out_whole(tmp_path: Path) -> None:
    one = read_squad([_file(tmp_path / "a.json", _article("A", "one", ("one", 0)))])
    other = read_squad([_file(tmp_path / "b.json", _article("B", "one", ("one", 0)))])
    check_disjoint(one, other)
    with pytest.raises(BadData, match="'A' is in the training data"):
        check_disjoint(one, one)


@pytest.mark.parametrize("start", [10**30, -7, 3.0])
def test_a_place_that_cannot_be_is_looked_up(tmp_path: Path, start: float) -> None:
    (question,) = read_squad([_file(tmp_path / "a.json", _article("A", "the one", ("one", start)))]).questions  # type: ignore[arg-type]
    assert question.answers == (Answer("one", 4),)


@pytest.mark.parametrize("start", ["1e999", '"first"', "null"])
def test_a_place_that_is_no_number_is_told(tmp_path: Path, start: str) -> None:
    said = json.dumps({"data": [_article("A", "one", ("one", 0))]}).replace(
        '"answer_start": 0', f'"answer_start": {start}'
    )
    (tmp_path / "a.json").write_text(said, "utf-8")
    with pytest.raises(BadData, match="article 0"):
        read_squad([tmp_path / "a.json"])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "[]", '{"data": [{"title": "A"}]}', '{"data": []}', '{"data": [3]}']
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    with pytest.raises(BadData):
        read_squad([path])
