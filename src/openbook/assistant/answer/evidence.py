"""Everything that a question's passages say about its answer, gathered once: for the quotation and for the confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit, units_of
from openbook.assistant.answer.features import COLUMNS, Similarities, similarities, unit_features
from openbook.assistant.answer.question import Question, analyse
from openbook.assistant.answer.scorer import Network, fitted
from openbook.core.messages import Embedder
from openbook.library.retrieve.hit import SearchResult
from openbook.library.store import LibraryStore

PASSAGES = 6
"""Passages whose sentences are weighed; the rest only say how far the first stand out."""
Fitted = Literal["en", "zh"]


@dataclass(frozen=True)
class Evidence:
    """`features` (U, F), `scores` (U,) of the units, higher is better."""

    question: Question
    result: SearchResult
    units: list[Unit]
    similar: Similarities
    features: NDArray[np.float64]
    scores: NDArray[np.float64]


def gather(store: LibraryStore, question: str, result: SearchResult) -> Evidence:
    """Reads the units of the best passages and scores them. `embedder` None, or without the language: words alone."""
    hits = result.hits[:PASSAGES]
    generation = store.generation()
    with store.catalogue.read() as connection:
        analysed = analyse(question, store.indexes.current(connection).lexical)
        units = units_of(connection, hits)
    embedder: Embedder | None = None
    if "dense" in result.timings_ms and result.language in store.languages(generation):
        embedder = store.embedder(generation)
    similar = similarities(analysed, units, embedder)
    features = unit_features(analysed, hits, units, similar)
    return Evidence(analysed, result, units, similar, features, unit_scores(features, similar.has_vectors))


def unit_scores(features: NDArray[np.float64], has_vectors: bool) -> NDArray[np.float64]:
    """(U, F) -> (U,)"""
    return Network.from_json(fitted()[fitted_for(has_vectors)]["sentences"], COLUMNS)(features)


def fitted_for(has_vectors: bool) -> Fitted:
    """Which fit counts: with vectors (English, or any language of an embedder), or by words alone (Chinese)."""
    return "en" if has_vectors else "zh"
