"""Whether rows of a test set were learned from: runs of 13 words that both have, and answers that are the same.

Source: Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix C (13-grams).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
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


def contamination(train: Iterable[Placed], test: Iterable[Placed]) -> Contamination:
    """The test set is held in memory, the training data read once. Texts shorter than 13 words must be the same as a whole."""
    by_gram: dict[str, list[int]] = defaultdict(list)
    by_answer: dict[str, list[int]] = defaultdict(list)
    by_question: dict[str, list[int]] = defaultdict(list)
    places: list[str] = []
    for number, (place, row) in enumerate(test):
        places.append(place)
        for gram in set(grams(words(_whole(row)), GRAM_WORDS)):
            by_gram[gram].append(number)
        for one, index in ((_answer(row), by_answer), (_question(row), by_question)):
            if one:
                index[one].append(number)
    found: dict[int, str] = {}
    answers: set[int] = set()
    questions: set[int] = set()
    for place, row in train:
        for gram in grams(words(_whole(row)), GRAM_WORDS):
            for number in by_gram.get(gram, ()):
                found.setdefault(number, place)
        answers.update(by_answer.get(_answer(row), ()))
        questions.update(by_question.get(_question(row), ()))
    pairs = [(places[number], found[number]) for number in sorted(found)[:_NAMED]]
    return Contamination(len(places), len(found), len(answers), len(questions), pairs)


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
