"""Whether the last thing that a clause speaks of is denied there and affirmed in the passage, or the other way round.

"The bridge was reopened" of "the bridge was closed and never reopened": as a whole the clause is like "the bridge was
closed" as well, but "reopened" is only ever denied. A word is denied by a negation shortly before it, or by one that
follows it to the end of the clause ("smoking in the rooms is forbidden").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from openbook.assistant.answer.mentions import is_chinese, tagged
from openbook.assistant.answer.polarity import cues
from openbook.library.lexical.stem import stem_english
from openbook.library.lexical.stopwords import STOPWORDS

_REACH = {"zh": 14, "en": 60}
"""Characters between a negation and what it denies."""
_CONDITION = re.compile(r"\b(?:unless|except|without|only)\b|未经|除非|除了|以外|之外|只有|仅")
"""What denies or allows only for a case: there the words beside it do not tell."""
_WORD = re.compile(r"[a-z][a-z'-]+")


class _Term(NamedTuple):
    text: str
    start: int
    is_denied: bool


def contradicted(clause: str, theirs: Sequence[str]) -> str | None:
    """The clause of `theirs` that says the opposite of the last word of `clause`; None where one agrees."""
    mine = _terms(clause)
    if not mine or len(mine[-1].text) < 2 or _CONDITION.search(clause) or any(map(_CONDITION.search, theirs)):
        return None
    known = [(term, other) for other in theirs for term in _terms(other)]
    last = mine[-1]
    found = [(term.is_denied, other) for term, other in known if term.text == last.text]
    if not found or any(is_denied == last.is_denied for is_denied, _ in found):
        return None
    # Other words that are denied here and there: the same denial, in another order of words.
    polarity: dict[str, set[bool]] = {}
    for term, _ in known:
        polarity.setdefault(term.text, set()).add(term.is_denied)
    denied = [polarity[term.text] for term in mine if term.is_denied and term.text in polarity]
    agree = sum(True in held for held in denied)
    return None if last.is_denied and 2 * agree >= len(denied) else found[0][1]


@lru_cache(maxsize=1_024)
def _terms(clause: str) -> tuple[_Term, ...]:
    spans = cues(clause)
    covered = {place for start, end in spans for place in range(start, end)}
    reach = _REACH["zh" if is_chinese(clause) else "en"]
    return tuple(
        _Term(text, start, _is_denied(clause, start, spans, reach))
        for text, start in _words(clause)
        if start not in covered
    )


def _is_denied(clause: str, start: int, spans: Sequence[tuple[int, int]], reach: int) -> bool:
    near = [end for _, end in spans if 0 <= start - end <= reach]
    return len(near) % 2 == 1 if near else any(begin > start for begin, _ in spans)


def _words(clause: str) -> list[tuple[str, int]]:
    if not is_chinese(clause):
        lower = clause.lower()
        return [
            (stem_english(m[0]), m.start()) for m in _WORD.finditer(lower) if m[0] not in STOPWORDS and len(m[0]) > 2
        ]
    found: list[tuple[str, int]] = []
    place = 0
    for word in tagged(clause):
        at = clause.find(word.text, place)
        place = max(place, at + len(word.text))
        if word.kind[0] not in "uyxmqpcrz" and word.text not in STOPWORDS:
            found.append((word.text, at))
    return found
