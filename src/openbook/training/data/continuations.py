"""Pairs of passages of one document: what follows, and what stands elsewhere in it.

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.1, task 2. There what does not follow is of another
document, which a model learns to tell by the subject alone; here both are of one document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

from openbook.core.errors import BadData
from openbook.training.data.reading import DataFile, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Question, as_text
from openbook.training.data.sentences import sentence_spans

IS_NEXT, IS_NOT = 0, 1
INSIDE = 0.5
"""How often a pair is cut inside a paragraph, rather than between two."""
MOST_SENTENCES = 4
_BLANK_LINE = re.compile(r"\n\s*\n")


class Writing(NamedTuple):
    """A document: the sentences of each of its paragraphs."""

    title: str
    paragraphs: list[list[str]]


class Continuation(NamedTuple):
    """`label`: `IS_NEXT` or `IS_NOT`."""

    first: str
    second: str
    label: int


def read_writings(files: Sequence[DataFile], receipt: Receipt) -> list[Writing]:
    """Documents of at least three paragraphs: files of text with blank lines between paragraphs, rows of text, and articles of
    SQuAD, whose passages are paragraphs. BadData where there is none.
    """
    found: dict[str, list[str]] = {}
    for place, row in read_rows(files, receipt):
        if isinstance(row, Question):
            paragraphs = found.setdefault(row.title, [])
            if not paragraphs or paragraphs[-1] != row.context:
                paragraphs.append(row.context)
        else:
            found.setdefault(place, []).extend(one for one in _BLANK_LINE.split(as_text(row)) if one.strip())
    writings = [Writing(title, _sentences(paragraphs)) for title, paragraphs in found.items()]
    kept = [one for one in writings if len(one.paragraphs) > 2]
    if not kept:
        raise BadData("no document has three paragraphs", "put blank lines between paragraphs, a document in a file")
    return kept


def _sentences(paragraphs: Iterable[str]) -> list[list[str]]:
    said = [[text[start:end].strip() for start, end in sentence_spans(text)] for text in paragraphs]
    return [kept for one in said if (kept := [sentence for sentence in one if sentence])]


def continuation(
    writing: Writing, place: int, random: Random, others: Sequence[Writing] = (), strangers: float = 0.0
) -> Continuation:
    """A pair whose first passage is of paragraph `place`, which is not the last one; as often next as not.

    Each passage has one to `MOST_SENTENCES` sentences. What is not next is of a paragraph that is neither of the two, or, as
    often as `strangers` says, of one of the `others`.
    """
    paragraphs = writing.paragraphs
    own = paragraphs[place]
    cut = random.randrange(1, len(own)) if len(own) > 1 and random.random() < INSIDE else len(own)
    before, after = _count(random), _count(random)
    first = " ".join(own[max(cut - before, 0) : cut])
    if random.random() < 0.5:
        following = own[cut:] or paragraphs[place + 1]
        return Continuation(first, " ".join(following[:after]), IS_NEXT)
    if others and random.random() < strangers:
        other = random.choice(random.choice(others).paragraphs)
    else:
        apart = [number for number in range(len(paragraphs)) if number not in (place, place + 1)]
        other = paragraphs[random.choice(apart)]
    begin = random.randrange(len(other)) if cut < len(own) else 0
    return Continuation(first, " ".join(other[begin : begin + after]), IS_NOT)


def _count(random: Random) -> int:
    return random.randint(1, MOST_SENTENCES)
