"""What something is said to be: "The founder of the mill is Bison" against a passage's own sentence about the same founder.

Only a sentence whose subject the passage has word for word is looked at, and only a complement that shares no word with any
that the passage gives it: there the sentence says another thing about what it copied the rest of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from openbook.assistant.answer.polarity import denies
from openbook.library.lexical.fold import fold
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms

_ENGLISH = re.compile(r"^(?P<subject>.{4,}?)\s+(?:is|are|was|were)\s+(?P<complement>\S.*)$", re.IGNORECASE)
_CHINESE = re.compile(r"^(?P<subject>[^是，,]{3,}?)(?:就)?是(?P<complement>[^是]+)$")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|[。！？\n]+")
_VERBAL = re.compile(r"^\w+(?:ed|en|ing|able|ible)$", re.IGNORECASE)
"""How a complement begins that says what is done, for which there are many words."""
_MOST_WORDS = 3
_LEAST_SUBJECT = 2


class Other(NamedTuple):
    """`said` in the sentence, `held` in the passage, of the same subject."""

    said: str
    held: str


def other_complements(sentence: str, passage: str) -> Iterator[Other]:
    """The complement of the sentence where the passage gives its subject others alone."""
    found = _parts(sentence)
    if found is None or denies(sentence):
        return
    subject, said = found
    words = _words(said)
    if len(_words(subject)) < _LEAST_SUBJECT or not 0 < len(words) <= _MOST_WORDS or words & _words(passage):
        return
    first = said.split()[0] if said.split() else said
    if _VERBAL.match(first) or any(sign.isdigit() for sign in said):
        return
    key = _key(subject)
    held = [
        other
        for one in _SENTENCE.split(passage)
        if not denies(one) and (other := _parts(one)) and _key(other[0]) == key
    ]
    if held:
        yield Other(said, held[0][1])


def _parts(sentence: str) -> tuple[str, str] | None:
    """(subject, complement) of a plain statement."""
    plain = sentence.strip().rstrip(".!?。！？ ")
    found = _ENGLISH.match(plain) or _CHINESE.match(plain)
    return (found["subject"].strip(), found["complement"].strip()) if found else None


def _key(subject: str) -> tuple[str, ...]:
    return tuple(term for term in terms(fold(subject)) if term not in STOPWORDS)


def _words(text: str) -> frozenset[str]:
    return frozenset(_key(text))
