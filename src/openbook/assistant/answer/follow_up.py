"""A turn of a conversation, and what is carried from it when nothing better is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from openbook.assistant.answer.mentions import chinese_names, content_words, english_names, is_chinese

_MOST_TERMS = 6
_CARRIED = re.compile(r"[(（]([^()（）]+)[)）]$")
"""What was carried to the last question already."""
SHORT_WORDS = 12
SHORT_CHARACTERS = 40


class Turn(NamedTuple):
    """An earlier question, made to stand alone, and its answer ("" where there was none)."""

    question: str
    answer: str


def names(text: str) -> list[str]:
    return chinese_names(text) if is_chinese(text) else english_names(text)


def is_short(answer: str) -> bool:
    """Whether an answer says one thing, so that its names can be what is asked about next; a long quotation is not."""
    return len(answer) > 0 and (
        len(answer) <= SHORT_CHARACTERS if is_chinese(answer) else len(answer.split()) <= SHORT_WORDS
    )


def with_carried(question: str, turns: Sequence[Turn], *, answer_too: bool = False) -> str:
    """`question` with the subject of the last turn in brackets: its names, else its content words."""
    last = turns[-1]
    carried = _CARRIED.search(last.question)
    found = re.split("，|, ", carried[1]) if carried else names(last.question)
    if not carried and len(found) < 2:
        found = [*found, *(word for word in content_words(last.question) if not any(word in name for name in found))]
    if answer_too and is_short(last.answer):
        found = [*(names(last.answer) or [last.answer.rstrip(".。")]), *found]
    lower = question.lower()
    fresh = [term for term in dict.fromkeys(found) if term.lower() not in lower][:_MOST_TERMS]
    if not fresh:
        return question
    return f"{question}（{'，'.join(fresh)}）" if is_chinese(question) else f"{question} ({', '.join(fresh)})"
