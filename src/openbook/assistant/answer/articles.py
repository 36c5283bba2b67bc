"""Articles and sections by their numbers: a question that names one is answered from it, and no quotation spans two."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from openbook.library.retrieve.hit import SearchResult

if TYPE_CHECKING:
    from openbook.assistant.answer.candidates import Unit

_REFERENCE = re.compile(
    r"第[零〇一二两三四五六七八九十百千\d]+条(?:之[一二三四五六七八九十])?"
    r"|\b(?:article|section|chapter|clause|rule|figure|table)\s+\d+(?:\.\d+)*\b",
    re.IGNORECASE,
)


_OPENING = re.compile(
    r"\W*(?:第[零〇一二两三四五六七八九十百千\d]+条|(?:article|section|clause|rule)\s+\d)", re.IGNORECASE
)


def with_references(question: str) -> str:
    """`question` with the articles and sections that it names in quotation marks: only a passage that has them word for
    word can answer it (when none has, search says so and looks for their words).
    """
    return _REFERENCE.sub(lambda reference: f' "{reference[0]}" ', question)


def own_articles(question: str, result: SearchResult) -> SearchResult:
    """`result` with only the passages in which a line begins with the article that was asked for, where there are any:
    others merely refer to it.
    """
    for begins in _beginnings(question):
        hits = [hit for hit in result.hits if begins.search(hit.text)]
        if hits:
            return replace(result, hits=hits)
    return result


def units_of_article(question: str, units: list[Unit]) -> list[Unit]:
    """Only the units of the article that was asked for, where there are any: a passage holds its neighbours too."""
    for begins in _beginnings(question):
        groups = {(unit.hit, unit.group) for unit in units if begins.match(unit.text)}
        if groups:
            return [unit for unit in units if (unit.hit, unit.group) in groups]
    return units


def _beginnings(question: str) -> list[re.Pattern[str]]:
    """What a line begins with that holds an article of the question."""
    return [
        re.compile(rf"^\W*{re.escape(reference)}(?!之)", re.MULTILINE | re.IGNORECASE)
        for reference in _REFERENCE.findall(question)
    ]


def opens_article(text: str) -> bool:
    """Whether `text` begins with the number of an article or section: what follows is about something else."""
    return _OPENING.match(text) is not None
