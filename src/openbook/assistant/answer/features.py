"""What speaks for each unit as the answer: a matrix with one row a sentence or table row, one named column a reason.

Columns are shares and differences, not raw scores, so that they mean the same in a library of ten documents and in
one of a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit
from openbook.assistant.answer.question import KINDS, Question, grams, pieces, shows_kind
from openbook.core.messages import Embedder
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit

Matrix = NDArray[np.float64]

COLUMNS = (
    "coverage",
    "coverage before",
    "coverage after",
    "coverage window",
    "coverage passage",
    "coverage context",
    "coverage with context",
    "pairs",
    "pairs passage",
    "names",
    "names window",
    "names passage",
    "closeness",
    "cosine",
    "cosine before",
    "cosine after",
    "cosine best of passage",
    "cosine below best",
    "fused",
    "fused below best",
    "bm25 of best",
    "dense of passage",
    "rank",
    "first hit",
    "opens passage",
    "length",
    "new terms",
    "in order",
    "in order window",
    "trigrams",
    "left of question word",
    "right of question word",
    "coverage below best",
    "coverage all before",
    "in order below best",
    "longest run",
    "longest run passage",
    "rare",
    "rare window",
    "rare passage",
    "rare passage below best",
    "coverage passage below best",
    "longest run passage below best",
    "kind shown",
    "kind missing",
    "is row",
    *(f"{kind} shown" for kind in KINDS[:-1]),
    *(f"{kind} asked, length" for kind in KINDS[:-1]),
)


@dataclass(frozen=True)
class Similarities:
    """Cosines of the question to each unit (U,), zeros where the embedder does not know the language."""

    units: Matrix
    has_vectors: bool


def similarities(question: Question, units: Sequence[Unit], embedder: Embedder | None) -> Similarities:
    if embedder is None or not units:
        return Similarities(np.zeros(len(units)), False)
    vectors = embedder.embed([question.text, *(unit.text for unit in units)], "passage")
    vectors[0] = embedder.embed([question.text], "query")[0]
    return Similarities((vectors[1:] @ vectors[0]).astype(np.float64), True)


def unit_features(question: Question, hits: Sequence[Hit], units: Sequence[Unit], similar: Similarities) -> Matrix:
    """(U, len(COLUMNS))"""
    runs = [pieces(unit.text, question.language) for unit in units]
    overlap = [_Overlap.of(question, unit, run) for unit, run in zip(units, runs, strict=True)]
    contexts = {text: set(terms(text)) for text in {unit.context for unit in units}}
    places = [[i for i, unit in enumerate(units) if unit.hit == place] for place in range(len(hits))]
    passages = [_Passage.of(question, one, units, runs) for one in places]
    scores = _hit_scores(hits)
    order_length = max(1, len(question.order))
    matrix = np.zeros((len(units), len(COLUMNS)))
    for i, unit in enumerate(units):
        before, after = _neighbour(units, i, -1), _neighbour(units, i, 1)
        near = {i, *(place for place in (before, after) if place is not None)}
        window = set().union(*(overlap[place].found for place in near))
        passage = passages[unit.hit]
        cosine = float(similar.units[i])
        best = float(similar.units[passage.units].max())
        shown = shows_kind(question, unit.text)
        length = np.log(max(1, len(unit.ordered))) / 4
        context = contexts[unit.context]
        matrix[i] = (
            overlap[i].coverage,
            overlap[before].coverage if before is not None else 0.0,
            overlap[after].coverage if after is not None else 0.0,
            question.coverage(window),
            passage.coverage,
            question.coverage(context),
            question.coverage(context | overlap[i].found),
            overlap[i].pairs,
            passage.pairs,
            overlap[i].names,
            _names(question, window),
            passage.names,
            overlap[i].closeness,
            cosine,
            float(similar.units[before]) if before is not None else 0.0,
            float(similar.units[after]) if after is not None else 0.0,
            best,
            cosine - best,
            *scores[unit.hit],
            1.0 / hits[unit.hit].rank,
            float(unit.hit == 0),
            float(passage.units[0] == i),
            length,
            overlap[i].fresh,
            overlap[i].in_order,
            common_order(question.order, [piece for place in sorted(near) for piece in runs[place]]) / order_length,
            overlap[i].trigrams,
            overlap[i].left,
            overlap[i].right,
            overlap[i].coverage - max(overlap[place].coverage for place in passage.units),
            question.coverage(set().union(*(overlap[place].found for place in passage.units if place < i))),
            overlap[i].in_order - max(overlap[place].in_order for place in passage.units),
            overlap[i].longest,
            passage.longest,
            question.rare_coverage(overlap[i].found),
            question.rare_coverage(window),
            passage.rare,
            passage.rare - max(one.rare for one in passages),
            passage.coverage - max(one.coverage for one in passages),
            passage.longest - max(one.longest for one in passages),
            float(shown is True),
            float(shown is False),
            float(unit.is_row),
            *(float(question.kind == kind and shown is True) for kind in KINDS[:-1]),
            *(float(question.kind == kind) * length for kind in KINDS[:-1]),
        )
    return matrix


@dataclass(frozen=True)
class _Overlap:
    found: set[str]
    coverage: float
    pairs: float
    names: float
    closeness: float
    """Shared terms over the length of the stretch that holds them"""
    fresh: float
    """Terms that the question lacks, on a scale of logarithms"""
    in_order: float
    """The share of the question's pieces that come in the same order"""
    trigrams: float
    left: float
    right: float
    """Shares of what stands beside the question word"""
    longest: float
    """The longest unbroken run of the question's pieces, as a share of them"""

    @classmethod
    def of(cls, question: Question, unit: Unit, run: tuple[str, ...]) -> _Overlap:
        found = set(unit.ordered).intersection(question.terms)
        places = [place for place, term in enumerate(unit.ordered) if term in found]
        stretch = places[-1] - places[0] + 1 if places else 1
        shared = question.pairs.intersection(pairwise(unit.ordered)) if found else frozenset()
        fresh = len(set(unit.ordered)) - len(found)
        beside = grams(run, question.language)
        wanted = set(zip(question.order, question.order[1:], question.order[2:], strict=False))
        return cls(
            found,
            question.coverage(found),
            len(shared) / max(1, len(question.pairs)),
            _names(question, found),
            len(found) / max(stretch, len(found), 1) if len(found) > 1 else 0.0,
            float(np.log1p(fresh)) / 4,
            common_order(question.order, run) / max(1, len(question.order)),
            len(wanted.intersection(zip(run, run[1:], run[2:], strict=False))) / max(1, len(wanted)),
            len(question.left & beside) / max(1, len(question.left)),
            len(question.right & beside) / max(1, len(question.right)),
            longest_run(question.order, run) / max(1, len(question.order)),
        )


@dataclass(frozen=True)
class _Passage:
    units: list[int]
    coverage: float
    pairs: float
    names: float
    longest: float
    rare: float

    @classmethod
    def of(
        cls, question: Question, places: list[int], units: Sequence[Unit], runs: Sequence[tuple[str, ...]]
    ) -> _Passage:
        found = {term for place in places for term in units[place].ordered}
        found |= {term for context in {units[place].context for place in places} for term in terms(context)}
        ordered = [term for place in places for term in units[place].ordered]
        shared = question.pairs.intersection(pairwise(ordered))
        pairs = len(shared) / max(1, len(question.pairs))
        whole = [piece for place in places for piece in runs[place]]
        longest = longest_run(question.order, whole) / max(1, len(question.order))
        rare = question.rare_coverage(found)
        return cls(places, question.coverage(found), pairs, _names(question, found), longest, rare)


def _names(question: Question, found: set[str]) -> float:
    """The share of the question's names and numbers among `found`; 1 when it has none."""
    total = float(question.shares[question.is_name].sum())
    if total == 0:
        return 1.0
    named = zip(question.terms, question.shares.tolist(), question.is_name.tolist(), strict=True)
    held = sum(share for term, share, is_name in named if is_name and term in found)
    return float(held) / total


def common_order(one: Sequence[str], two: Sequence[str]) -> int:
    """The length of the longest common subsequence, a machine word of rows at a time.

    Source: H. Hyyrö, "Bit-parallel LCS-length computation revisited" (2004).
    """
    places: dict[str, int] = {}
    for place, piece in enumerate(one):
        places[piece] = places.get(piece, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for piece in two:
        matched = row & places.get(piece, 0)
        if matched:
            row = (row + matched | row - matched) & full
    return len(one) - row.bit_count()


def longest_run(one: Sequence[str], two: Sequence[str]) -> int:
    """The most neighbouring pieces of `one` that are neighbours in `two` as well."""
    text = "\0" + "\0".join(two) + "\0"
    start = best = 0
    for end in range(1, len(one) + 1):
        while start < end and "\0" + "\0".join(one[start:end]) + "\0" not in text:
            start += 1
        best = max(best, end - start)
    return best


def _neighbour(units: Sequence[Unit], place: int, step: int) -> int | None:
    """The unit beside, where it may be quoted together with this one."""
    other = place + step
    if not 0 <= other < len(units):
        return None
    one, two = units[place], units[other]
    return other if (one.hit, one.group) == (two.hit, two.group) else None


def _hit_scores(hits: Sequence[Hit]) -> list[tuple[float, float, float, float]]:
    """Fused, its distance from the best, BM25 as a share of the best, dense; what a list lacks is its lowest."""
    fused = [float(hit.scores.get("fused") or 0.0) for hit in hits]
    lexical = [float(hit.scores.get("bm25") or 0.0) for hit in hits]
    dense = [hit.scores.get("dense") for hit in hits]
    lowest = min((float(value) for value in dense if value is not None), default=0.0)
    best, most = max(fused, default=0.0), max(lexical, default=0.0) or 1.0
    return [
        (f / 8, (f - best) / 8, b / most, float(d) if d is not None else lowest)
        for f, b, d in zip(fused, lexical, dense, strict=True)
    ]
