"""A test set that was learned from is told: by runs of 13 words, by whole short texts, by questions and by answers."""

from __future__ import annotations

from openbook.training.data.contamination import contamination
from openbook.training.data.reading import Placed
from openbook.training.data.row import Chat, Completion, Pair, Question, Row, Text

LONG = "the ferry that leaves the harbour at eight fifteen in the morning comes back at noon every day"


def placed(name: str, *rows: Row) -> list[Placed]:
    return [Placed(f"{name}:{at}", row) for at, row in enumerate(rows, 1)]


def chat(asked: str, answered: str) -> Chat:
    return Chat(({"role": "user", "content": asked}, {"role": "assistant", "content": answered}))


def test_a_run_of_thirteen_words_is_found_in_any_form() -> None:
    train = placed("train", Text("Nothing here."), Text(f"He said: {LONG.upper()}!"))
    test = placed("test", chat("Tell me of it.", LONG), Text(" ".join(LONG.split()[:12]) + " or so it was said by all"))
    found = contamination(train, test)
    assert (found.rows, found.overlapping) == (2, 1)
    assert found.pairs == [("test:1", "train:2")]
    assert found.share == 0.5


def test_a_short_text_must_be_the_same_as_a_whole() -> None:
    train = placed("train", Text("What is the capital of France?"), Text("Paris is a city."))
    found = contamination(train, placed("test", Text("what is the capital of france"), Text("Paris is")))
    assert found.overlapping == 1


def test_questions_and_answers() -> None:
    train = placed(
        "train",
        chat("Who leads?", "It is the person who stands in front of all others."),
        chat("How many?", "Seven"),
        Pair("Where is it?", ("In the north.",)),
    )
    test = placed(
        "test",
        Completion("Somebody asks:", "It is the person who stands in front of all others"),
        chat("how many", "Seven"),
        Question("1", "T", "It is there.", "Where is it?", ((6, "there"),)),
    )
    found = contamination(train, test)
    assert (found.answers, found.questions, found.overlapping) == (1, 2, 1)


def test_nothing_to_test() -> None:
    assert contamination(placed("train", Text(LONG)), []).share == 0.0


def test_chinese_characters_are_words() -> None:
    text = "渡轮上午八点十五分离港，中午返回。"
    assert contamination(placed("train", Text("他说：" + text)), placed("test", Text(text))).overlapping == 1
