"""Questions about passages with their answers as spans, from SQuAD's JSON (1.1 and 2.0) and what is written like it.

Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; 2018, https://arxiv.org/abs/1806.03822.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import BadData

_NEAR = 120
"""Characters to both sides of an answer, where the words of its question are looked for."""
_WORD = re.compile(r"\w+")


class Answer(NamedTuple):
    """`start`: code points of the passage before it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Question(NamedTuple):
    """`passage`: its place among the passages. No `answers`: the passage does not say it."""

    id: str
    text: str
    passage: int
    answers: tuple[Answer, ...]


@dataclass
class Squad:
    """`articles`: the title of each passage's article. `lost`: answers that do not stand in their passage."""

    passages: list[str] = field(default_factory=list)
    articles: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    lost: int = 0

    @property
    def titles(self) -> frozenset[str]:
        """Of the articles that are asked about."""
        return frozenset(self.articles[one.passage] for one in self.questions)


def read_squad(paths: Iterable[Path]) -> Squad:
    """All articles of the files (`.json`, `.json.gz`). BadData names a file that is none, and where it breaks off."""
    found = Squad()
    for path in paths:
        for number, article in enumerate(_articles(path)):
            try:
                _add(found, article)
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
                raise BadData(
                    f"{path}: article {number} is not as SQuAD writes it: {error!r}", "see its format"
                ) from None
    if not found.questions:
        raise BadData("there is no question in the data", "give a JSON file in the form of SQuAD")
    return found


def _articles(path: Path) -> list[dict[str, Any]]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        said = json.loads(raw)
    except (OSError, ValueError, EOFError, RecursionError) as error:
        raise BadData(f"{path} cannot be read: {error}", "give a JSON file in the form of SQuAD") from None
    articles = said.get("data") if isinstance(said, dict) else None
    if not isinstance(articles, list):
        raise BadData(f"{path} has no list of articles under 'data'", "give a JSON file in the form of SQuAD")
    return articles


def _add(found: Squad, article: dict[str, Any]) -> None:
    for paragraph in article["paragraphs"]:
        text, place = str(paragraph["context"]), len(found.passages)
        found.passages.append(text)
        found.articles.append(str(article.get("title", "")))
        for asked in paragraph["qas"]:
            said = [(str(one["text"]), int(one.get("answer_start", -1))) for one in asked.get("answers", ())]
            answers = [one for pair in said if (one := _located(text, *pair)) is not None]
            found.lost += len(said) - len(answers)
            if answers or not said:
                found.questions.append(
                    Question(str(asked.get("id", "")), str(asked["question"]).strip(), place, tuple(answers))
                )


def _located(passage: str, text: str, start: int) -> Answer | None:
    """The answer where it is said to be, or else at its first occurrence."""
    if not text.strip():
        return None
    if start < 0 or passage[start : start + len(text)] != text:
        start = passage.find(text)
    return Answer(text, start) if start >= 0 else None


def likeliest_place(passage: str, answer: Answer, question: str) -> Answer:
    """The occurrence of the answer's text that stands among most of the question's words; the first one of equals.

    Short answers occur more than once, and data that was collected from text alone says where the first one is. Occurrences
    inside a word do not count while there is a whole one.
    """
    places = [match.start() for match in re.finditer(re.escape(answer.text), passage)]
    whole = [place for place in places if _is_whole(passage, place, place + len(answer.text))]
    if len(whole or places) < 2:
        return Answer(answer.text, (whole or places or [answer.start])[0])
    wanted = set(_words(question))

    def agreement(place: int) -> int:
        near = passage[max(place - _NEAR, 0) : place] + " " + passage[place + len(answer.text) :][:_NEAR]
        return len(wanted.intersection(_words(near)))

    return Answer(answer.text, max(whole or places, key=lambda place: (agreement(place), -place)))


def check_disjoint(train: Squad, other: Squad) -> None:
    """BadData names an article that is in both: what is measured on it would be known by heart."""
    if shared := sorted(train.titles & other.titles - {""}):
        raise BadData(
            f"the article {shared[0]!r} is in the training data and in the held-out data, as are {len(shared) - 1} more",
            "hold out whole articles",
        )


def _is_whole(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() and text[start].isalnum()) and not (
        text[end : end + 1].isalnum() and text[end - 1].isalnum()
    )


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text.lower())
