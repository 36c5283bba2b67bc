"""From a written answer to citations: marks resolved to the passages given, each sentence with the span it rests on.

The model only says which passage; where in it, whether it agrees, and under which number it is shown is decided here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import apsw

from openbook.assistant.answer.answer import Citation, Sentence
from openbook.assistant.answer.candidates import Unit, units_of
from openbook.assistant.answer.extract import cited, page_at
from openbook.assistant.answer.marks import Marked, take_marks
from openbook.assistant.answer.verify import verify, verify_across
from openbook.library.catalogue import reads
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit
from openbook.library.store import LibraryStore

MOST_UNITS = 3
"""Sentences of a citation."""
ADDED = 0.08
"""Share of a sentence's weighted terms that one more sentence of a citation must add."""
LEAST_COVERAGE = 0.25
"""Share of a sentence's weighted terms that a passage which it cites must hold."""
LEAST_UNMARKED = 0.55
"""The same where the sentence cites nothing and a passage is looked for."""
_NOT_SAID = {"en": "the passage does not say this", "zh": "引文中没有这个说法"}


@dataclass(frozen=True)
class Cited:
    """The answer without marks; `unknown`: numbers of passages that were never given; `unsupported`: sentences."""

    text: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    unknown: tuple[int, ...]

    @property
    def unsupported(self) -> int:
        return sum(not sentence.supported for sentence in self.sentences)


class _Window(NamedTuple):
    hit: int
    first: int
    last: int
    coverage: float

    @property
    def worth(self) -> float:
        """Each sentence more must add something."""
        return self.coverage - ADDED * (self.last - self.first)


def cite(store: LibraryStore, answer: str, hits: Sequence[Hit]) -> Cited:
    """The sentences of `answer` with citations into `hits`, which were shown to the model as [1], [2], ..."""
    text, marked = take_marks(answer)
    with store.catalogue.read() as connection:
        passages = _Passages(connection, hits)
        resolver = _Resolver(store, passages)
        sentences = [resolver.sentence(text[one.start : one.end], one) for one in marked]
    unknown = sorted({n for one in marked for n in one.numbers if not 1 <= n <= len(hits)})
    return Cited(text, tuple(sentences), tuple(resolver.citations), tuple(unknown))


class _Passages:
    """The hits with their sentences and rows, and how much each term tells among them."""

    def __init__(self, connection: apsw.Connection, hits: Sequence[Hit]) -> None:
        self.hits = hits
        self.units = units_of(connection, hits)
        self.of_hit: list[list[int]] = [[] for _ in hits]
        for place, unit in enumerate(self.units):
            self.of_hit[unit.hit].append(place)
        self.terms = [frozenset(unit.ordered) for unit in self.units]
        self._frequency = Counter(term for found in self.terms for term in found)
        self._headers = {
            unit.header: reads.text_between(connection, int(hits[unit.hit].document_id[1:]), *unit.header)
            for unit in self.units
            if unit.header is not None
        }

    def weight(self, term: str) -> float:
        return math.log1p((len(self.units) + 1) / (self._frequency[term] + 0.5))

    def header(self, unit: Unit) -> str:
        return self._headers.get(unit.header, "") if unit.header is not None else ""

    def best(self, sentence: str, hit: int) -> _Window | None:
        """The run of at most `MOST_UNITS` sentences, or the row, that holds most of the sentence's terms; of equal ones
        the shortest, then the first. A row is helped by the words of its header.
        """
        wanted = {term: self.weight(term) for term in set(terms(sentence)) - STOPWORDS}
        total = sum(wanted.values())
        best: _Window | None = None
        places = self.of_hit[hit]
        for index, first in enumerate(places):
            held: set[str] = set(terms(self.header(self.units[first]))) & wanted.keys()
            for last in places[index : index + MOST_UNITS]:
                if last > first and (self.units[last].is_row or self.units[last].group != self.units[first].group):
                    break
                held |= self.terms[last] & wanted.keys()
                coverage = sum(wanted[term] for term in held) / total if total else 0.0
                found = _Window(hit, first, last, coverage)
                if best is None or found.worth > best.worth + 1e-9:
                    best = found
        return best


class _Resolver:
    """Gives citations their numbers: in the order of use, the same span always the same."""

    def __init__(self, store: LibraryStore, passages: _Passages) -> None:
        self.citations: list[Citation] = []
        self._store = store
        self._passages = passages

    def sentence(self, text: str, marked: Marked) -> Sentence:
        """`marked` with numbers of our citations; supported when what it cites agrees with it."""
        known = [n - 1 for n in marked.numbers if 1 <= n <= len(self._passages.hits)]
        language = detect_language(text)
        windows = self._windows(text, known)
        if not windows:
            return Sentence(marked.start, marked.end, (), False)
        foreign = all(self._passages.hits[window.hit].language != language for window in windows) and language in (
            "en",
            "zh",
        )
        failed = self._failures(text, windows, foreign)
        if not foreign and max(window.coverage for window in windows) < LEAST_COVERAGE:
            failed = [_NOT_SAID["zh" if language == "zh" else "en"], *failed]
        numbers = tuple(dict.fromkeys(self._number(window, failed) for window in windows))
        return Sentence(marked.start, marked.end, numbers, not failed)

    def _windows(self, text: str, known: Sequence[int]) -> list[_Window]:
        """The best span of each passage that is cited; without any, the best of all passages if it is good enough."""
        if known:
            return [window for hit in known if (window := self._passages.best(text, hit))]
        found = [window for hit in range(len(self._passages.hits)) if (window := self._passages.best(text, hit))]
        best = max(found, key=lambda window: window.coverage, default=None)
        return [best] if best is not None and best.coverage >= LEAST_UNMARKED else []

    def _failures(self, text: str, windows: Sequence[_Window], foreign: bool) -> list[str]:
        """What does not agree with all cited passages taken together."""
        hits = [self._passages.hits[window.hit] for window in windows]
        headers = [self._passages.header(self._passages.units[window.first]) for window in windows]
        passage = "\n".join(hit.text for hit in hits)
        context = "\n".join([*(f"{hit.title} {' '.join(hit.heading)}" for hit in hits), *headers])
        check = verify_across if foreign else verify
        return [failure.message for failure in check(text, passage, context)]

    def _number(self, window: _Window, failed: Sequence[str]) -> int:
        hit = self._passages.hits[window.hit]
        first, last = self._passages.units[window.first], self._passages.units[window.last]
        for place, citation in enumerate(self.citations):
            if (citation.document_id, citation.start, citation.end) == (hit.document_id, first.start, last.end):
                merged = tuple(dict.fromkeys([*citation.failed, *failed]))
                self.citations[place] = replace(citation, failed=merged, verified=not merged)
                return citation.n
        anchors = tuple(anchor for anchor in hit.anchors if anchor.start < last.end and anchor.end > first.start)
        page = page_at(self._store, hit, first.start, anchors)
        header = self._passages.header(first)
        made = cited(hit, len(self.citations) + 1, first.start, last.end, anchors, header, page)
        self.citations.append(replace(made, failed=tuple(failed), verified=not failed))
        return made.n
