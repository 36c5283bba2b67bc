"""How strongly one paragraph continues the one before it: marks of a rhetorical relation, weighed.

A logistic model over the marks of `cues` and over how much of the second paragraph is already given in the first. The
weights were fitted on the even lines of tests/library/split/data (benchmarks/fit_relation.py); the odd ones are held out.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from openbook.library.documents.model import BlockKind
from openbook.library.lexical.fold import simplify
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.tokenize import query_terms
from openbook.library.split import cues
from openbook.library.split.sentences import sentence_spans

_REACH = 2_000
"""Characters of a paragraph that are looked at, from the side of its neighbour."""
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w-]+")
_ITEM = re.compile(r"\s*(?:[-*•]|[（(]?(?:\d{1,3}|[a-z]|[一二三四五六七八九十]{1,3})[)）.、])\s*")


class Paragraph(NamedTuple):
    """A block's text and kind, and what is given before it: the words of its headings."""

    text: str
    kind: BlockKind
    headings: tuple[str, ...] = ()


class Marks(NamedTuple):
    """What the model weighs, each in [0, 1]."""

    connective: float
    anaphor: float
    addition: float
    time: float
    opened: float
    """The first ends in a colon or announces what follows."""
    asked: float
    """The first ends in a question."""
    run: float
    """Items of one list, or a list, table or piece of code with the paragraph beside it."""
    rule: float
    """The second begins with the number of an article of a statute."""
    theme: float
    """Share of the first three words of the second that the first has: what it is about."""
    repeated: float
    """How many words of the second's first sentence the first has, 1 for five and more; none of the headings."""
    names: float
    """Share of the capitalised words of the second that the first has."""
    near: float
    """Share of the first six words, none of the headings, that stand in the end of the first."""
    shared: float
    """Words that both have, over those of the one that has fewer."""


def marks(left: Paragraph, right: Paragraph, language: str | None = None) -> Marks:
    """The marks of a pair of neighbours under the same heading."""
    before, after = left.text.rstrip()[-_REACH:], right.text.lstrip()[:_REACH]
    chinese = (language or detect_language(after)) == "zh"
    if chinese:
        before, after = simplify(before), simplify(after)
    opening = _opening(after)
    head = opening[:14] if chinese else " ".join(opening.split()[:9])
    sentences = sentence_spans(before)
    known = set(query_terms(before))
    near = set(query_terms(before[sentences[-2 if len(sentences) > 1 else -1][0] :] if sentences else before))
    common = set(query_terms(" ".join(left.headings + right.headings)))
    told = list(dict.fromkeys(query_terms(opening)))
    fresh = [term for term in told if term not in common]
    rest = {term for term in query_terms(after) if term not in common}
    smaller = min(len(rest), len(known - common))
    return Marks(
        connective=float(_connects(head, chinese)),
        anaphor=float(_refers(head, chinese)),
        addition=float(bool((cues.ADDITION_ZH if chinese else cues.ADDITION_EN).search(opening[:120]))),
        time=float(bool((cues.TIME_ZH if chinese else cues.TIME_EN).match(opening))),
        opened=float(bool(cues.OPEN.search(before))),
        asked=float(bool(cues.QUESTION.search(before))),
        run=float(_runs_on(left, right)),
        rule=float(bool(cues.RULE_ZH.match(after))),
        theme=_share(told[:3], known),
        repeated=min(sum(term in known for term in fresh) / 5, 1.0),
        names=_share(_NAME.findall(after), set(_NAME.findall(before))),
        near=_share(fresh[:6], near),
        shared=len(rest & known) / smaller if smaller else 0.0,
    )


_WEIGHTS = {
    "en": (-2.41, 2.53, 2.50, 0.97, -1.12, 1.39, 2.51, 2.54, -3.00, 1.04, 1.98, 2.03, 1.01, 1.98),
    "zh": (-2.17, 2.45, 2.63, 0.72, -0.93, 1.50, 2.50, 2.62, -3.09, 0.97, 1.63, 2.00, 1.01, 1.97),
}
"""The bias, then one weight for each of `Marks`."""


def strength(left: Paragraph, right: Paragraph) -> float:
    """In [0, 1]: the probability that `right` belongs to what `left` says. At .5 and above they are kept together."""
    language = "zh" if detect_language(right.text) == "zh" else "en"
    bias, *weights = _WEIGHTS[language]
    found = marks(left, right, language)
    total = bias + sum(weight * mark for weight, mark in zip(weights, found, strict=True))
    return 1.0 / (1.0 + math.exp(-total))


def _opening(text: str) -> str:
    """The first sentence, without the number or bullet before it."""
    spans = sentence_spans(text)
    return text[spans[0][0] : spans[0][1]] if spans else text


def _connects(head: str, chinese: bool) -> bool:
    if chinese:
        return cues.CONNECTIVE_ZH.match(head) is not None
    return cues.CONNECTIVE_EN.match(head) is not None or cues.INLINE_EN.search(head) is not None


def _refers(head: str, chinese: bool) -> bool:
    if chinese:
        return cues.ANAPHOR_ZH.search(head) is not None
    return cues.CATAPHOR_EN.match(head) is None and cues.ANAPHOR_EN.match(head) is not None


def _runs_on(left: Paragraph, right: Paragraph) -> bool:
    kinds = (left.kind, right.kind)
    if kinds == ("list", "list") or (_ITEM.match(left.text) and _ITEM.match(right.text)):
        return True
    return left.kind != right.kind and bool({"list", "table", "code", "figure"} & set(kinds)) and left.kind != "list"


def _share(terms: list[str], known: set[str]) -> float:
    return sum(term in known for term in terms) / len(terms) if terms else 0.0
