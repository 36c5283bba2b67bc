"""Whether rows of a test set were learned from: runs of 13 words that both have, and answers that are the same.

Source: Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C (13-grams).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from openbook.training.data.reading import Placed
from openbook.training.data.row import Chat, Completion, Pair, Preference, Question, Row, Text, as_text, text_of
from openbook.training.data.words import grams, words

GRAM_WORDS = 13
ANSWER_WORDS = 5
"""Answers shorter than this are the same by chance."""
_NAMED = 5


class Contamination(NamedTuple):
    """Of `rows` of the test set: `overlapping` share a run of words with the training data, `answers` have an answer that it
    gives too, `questions` a question that it asks. `pairs`: the first of them, (place in the test set, in the training data).
    """

    rows: int
    overlapping: int
    answers: int
    questions: int
    pairs: list[tuple[str, str]]

    @property
    def share(self) -> float:
        return self.overlapping / self.rows if self.rows else 0.0


class TestSet:
    """The rows of a test set in memory, by the runs of words, the answers and the questions that are in them."""

    __test__ = False  # no test itself

    def __init__(self, rows: Iterable[Placed]) -> None:
        self.places: list[str] = []
        self._by_gram: dict[str, list[int]] = defaultdict(list)
        self._by_answer: dict[str, list[int]] = defaultdict(list)
        self._by_question: dict[str, list[int]] = defaultdict(list)
        for number, (place, row) in enumerate(rows):
            self.places.append(place)
            for gram in set(grams(words(_whole(row)), GRAM_WORDS)):
                self._by_gram[gram].append(number)
            for one, index in ((_answer(row), self._by_answer), (_question(row), self._by_question)):
                if one:
                    index[one].append(number)

    def overlapping(self, row: Row) -> Iterator[int]:
        """Numbers of the rows that share a run of words with `row`; a short text must be the same as a whole."""
        for gram in grams(words(_whole(row)), GRAM_WORDS):
            yield from self._by_gram.get(gram, ())

    def answering(self, row: Row) -> list[int]:
        """Those with the same answer."""
        return self._by_answer.get(_answer(row), [])

    def asking(self, row: Row) -> list[int]:
        """Those with the same question."""
        return self._by_question.get(_question(row), [])

    def holds(self, row: Row) -> bool:
        """Whether anything of `row` is in the test set."""
        return bool(self.asking(row) or self.answering(row)) or next(self.overlapping(row), None) is not None


def contamination(train: Iterable[Placed], test: Iterable[Placed]) -> Contamination:
    """The test set is held in memory, the training data read once. Texts shorter than 13 words must be the same as a whole."""
    known = TestSet(test)
    found: dict[int, str] = {}
    answers: set[int] = set()
    questions: set[int] = set()
    for place, row in train:
        for number in known.overlapping(row):
            found.setdefault(number, place)
        answers.update(known.answering(row))
        questions.update(known.asking(row))
    pairs = [(known.places[number], found[number]) for number in sorted(found)[:_NAMED]]
    return Contamination(len(known.places), len(found), len(answers), len(questions), pairs)


def _whole(row: Row) -> str:
    return f"{row.question}\n{row.context}" if isinstance(row, Question) else as_text(row)


def _question(row: Row) -> str:
    """What is asked first, as words."""
    match row:
        case Chat() | Preference():
            messages = row.messages if isinstance(row, Chat) else (*row.prompt, *row.chosen, *row.rejected)
            asked = next((text_of(one) for one in messages if one["role"] == "user"), "")
        case Completion():
            asked = row.prompt
        case Pair():
            asked = row.query
        case Question():
            asked = row.question
        case Text():
            asked = ""
    return " ".join(words(asked))


def _answer(row: Row) -> str:
    """What is answered last, as words; empty where that is too short to tell anything."""
    match row:
        case Chat():
            answered = next((text_of(one) for one in reversed(row.messages) if one["role"] == "assistant"), "")
        case Completion():
            answered = row.completion
        case Pair():
            answered = row.positives[0]
        case Question():
            answered = row.answers[0][1] if row.answers else ""
        case Preference():
            answered = text_of((row.chosen or row.rejected)[-1])
        case Text():
            answered = ""
    found = words(answered)
    return " ".join(found) if len(found) >= ANSWER_WORDS else ""
