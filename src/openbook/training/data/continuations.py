"""Passages of one document: what goes on where another ends, and what stands elsewhere in it.

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

INSIDE = 0.5
"""How often a place is inside a paragraph, rather than between two."""
MOST_SENTENCES = 6
SHORT = "documents of fewer than three paragraphs"
_BLANK_LINE = re.compile(r"\n\s*\n")


class Writing(NamedTuple):
    """A document: the sentences of each of its paragraphs."""

    title: str
    paragraphs: list[list[str]]


class Choice(NamedTuple):
    """`following` goes on where `first` ends; `others` do not, and all but those of other documents are of the same one."""

    first: str
    following: str
    others: tuple[str, ...]


def read_writings(files: Sequence[DataFile], receipt: Receipt) -> list[Writing]:
    """Documents of at least three paragraphs: files of text with blank lines between paragraphs, rows of text, and articles of
    SQuAD, whose passages are paragraphs. `receipt` counts the shorter ones. BadData where there is none.
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
    for one in writings:
        if len(one.paragraphs) <= 2:
            receipt.drop(SHORT, one.title)
    receipt.samples += len(kept)
    if not kept:
        raise BadData("no document has three paragraphs", "put blank lines between paragraphs, a document in a file")
    return kept


def _sentences(paragraphs: Iterable[str]) -> list[list[str]]:
    said = [[text[start:end].strip() for start, end in sentence_spans(text)] for text in paragraphs]
    return [kept for one in said if (kept := [sentence for sentence in one if sentence])]


def choice(
    writing: Writing,
    place: int,
    random: Random,
    others: int = 1,
    writings: Sequence[Writing] = (),
    strangers: float = 0.0,
) -> Choice:
    """A passage that ends in paragraph `place`, which is not the last one, the passage behind it, and `others` (fewer where the
    document is short) that begin in paragraphs beside these two. As often as `strangers` says, one of `writings` is among them.

    Each passage has one to `MOST_SENTENCES` sentences, and all second ones of a choice begin alike: with a paragraph, or inside.
    """
    paragraphs = writing.paragraphs
    own = paragraphs[place]
    is_inside = len(own) > 1 and random.random() < INSIDE
    cut = random.randrange(1, len(own)) if is_inside else len(own)
    before, after = _count(random), _count(random)
    following = own[cut:] or paragraphs[place + 1]
    apart = [one for number, one in enumerate(paragraphs) if number not in (place, place + 1)]
    chosen = random.sample(apart, min(others, len(apart)))
    if writings and random.random() < strangers:
        other = random.choice(writings)
        if other.title != writing.title:
            chosen.append(random.choice(other.paragraphs))
    begins = [random.randrange(min(1, len(one) - 1), len(one)) if is_inside else 0 for one in chosen]
    return Choice(
        " ".join(own[max(cut - before, 0) : cut]),
        " ".join(following[:after]),
        tuple(" ".join(one[begin : begin + after]) for one, begin in zip(chosen, begins, strict=True)),
    )


def _count(random: Random) -> int:
    return random.randint(1, MOST_SENTENCES)
