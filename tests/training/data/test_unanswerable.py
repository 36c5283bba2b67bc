"""Questions that a passage does not answer: one thing is changed, or what answers is taken out."""

from __future__ import annotations

from random import Random

import pytest

from openbook.training.data.unanswerable import changed_question, kept_sentences

PASSAGE = "The first war began in 1914. It ended in 1918. Then Anna Berg came to Oslo, and Carl Holm went to Rome."


def test_the_sentences_that_answer_are_left_out() -> None:
    kept = kept_sentences(PASSAGE, ["1914"])
    assert kept is not None
    left = "".join(PASSAGE[start:end] for start, end in kept)
    assert "1914" not in left and "1918" in left and "Oslo" in left


@pytest.mark.parametrize("answers", [["1700"], ["1914", "1918", "Anna"], []])
def test_where_nothing_or_everything_would_go_there_is_none(answers: list[str]) -> None:
    assert kept_sentences(PASSAGE, answers) is None


@pytest.mark.parametrize(
    "question",
    [
        "What began in 1914?",
        "Who is Anna Berg?",
        "When did the first war begin?",
        "Which city did Carl Holm like before?",
    ],
)
def test_one_thing_is_changed(question: str) -> None:
    found = {changed_question(question, PASSAGE, [], Random(seed)) for seed in range(40)} - {None}
    assert found and question not in found
    for one in found:
        assert one is not None
        kept = set(question.split()) & set(one.split())
        assert len(kept) >= len(question.split()) - 3


def test_a_question_without_a_handle_stays() -> None:
    assert all(changed_question("Why so?", PASSAGE, [], Random(seed)) is None for seed in range(20))


def test_the_same_draw_changes_the_same() -> None:
    asked = "When did the first war begin in 1914?"
    one, two = (changed_question(asked, PASSAGE, ["In 1871 Paris fell."], Random(3)) for _ in range(2))
    assert one == two
