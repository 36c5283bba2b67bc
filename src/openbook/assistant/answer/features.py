"""What speaks for each unit as the answer: a matrix with one row a sentence or table row, one named column a reason.

Columns are shares and differences, not raw scores, so that they mean the same in a library of ten documents and in
one of a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit, neighbour
from openbook.assistant.answer.late import LATE_COLUMNS
from openbook.assistant.answer.overlap import Overlap, Passage, common_order, names_share
from openbook.assistant.answer.question import KINDS, Question, pieces, shows_kind
from openbook.core.messages import Embedder
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit

Matrix = NDArray[np.float64]

WORD_COLUMNS = (
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
COLUMNS = (*WORD_COLUMNS, *LATE_COLUMNS)


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


def unit_features(
    question: Question, hits: Sequence[Hit], units: Sequence[Unit], similar: Similarities, late: Matrix
) -> Matrix:
    """(U, len(COLUMNS)); `late` (U, len(LATE_COLUMNS)) are the last of them."""
    return np.hstack([_word_features(question, hits, units, similar), late])


def _word_features(question: Question, hits: Sequence[Hit], units: Sequence[Unit], similar: Similarities) -> Matrix:
    """(U, len(WORD_COLUMNS))"""
    runs = [pieces(unit.text, question.language) for unit in units]
    overlap = [Overlap.of(question, unit, run) for unit, run in zip(units, runs, strict=True)]
    contexts = {text: set(terms(text)) for text in {unit.context for unit in units}}
    places = [[i for i, unit in enumerate(units) if unit.hit == place] for place in range(len(hits))]
    passages = [Passage.of(question, one, units, runs) for one in places]
    scores = _hit_scores(hits)
    order_length = max(1, len(question.order))
    matrix = np.zeros((len(units), len(WORD_COLUMNS)))
    for i, unit in enumerate(units):
        before, after = neighbour(units, i, -1), neighbour(units, i, 1)
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
            names_share(question, window),
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
