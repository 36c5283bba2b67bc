"""Everything that a question's passages say about its answer, gathered once: for the quotation and for the confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.articles import units_of_article
from openbook.assistant.answer.candidates import Unit, units_of
from openbook.assistant.answer.features import COLUMNS, Similarities, similarities, unit_features
from openbook.assistant.answer.late import late_features
from openbook.assistant.answer.question import Question, analyse
from openbook.assistant.answer.reading import Read, read_units
from openbook.assistant.answer.scorer import Network, fitted
from openbook.core.messages import Embedder, TokenEmbedder
from openbook.library.catalogue.scope import OWNER, Scope
from openbook.library.retrieve.hit import SearchResult
from openbook.library.retrieve.search import visible_words
from openbook.library.store import LibraryStore
from openbook.lm.reader import Reader

PASSAGES = 6
"""Passages whose sentences are weighed; the rest only say how far the first stand out."""
Fitted = Literal["en-tokens", "en-vectors", "en-words", "zh-words"]
"""What a fit reads: the vectors of sentences and of their tokens, of sentences only, or words alone."""


Score = Callable[[NDArray[np.float64], Fitted], NDArray[np.float64]]


@dataclass(frozen=True)
class Evidence:
    """`features` (U, F), `scores` (U,) of the units, higher is better. `read`: what a reader says of them, if one was asked."""

    question: Question
    result: SearchResult
    units: list[Unit]
    similar: Similarities
    fit: Fitted
    features: NDArray[np.float64]
    scores: NDArray[np.float64]
    read: Read | None = None

    @property
    def weighed(self) -> NDArray[np.float64]:
        """(U,) the scores, with the reader's margins where there are some."""
        if self.read is None:
            return self.scores
        weighed: NDArray[np.float64] = self.scores + fitted()["en-reader"]["sentences"] * self.read.margins
        return weighed

    @property
    def point(self) -> str:
        """Which thresholds of abstention count."""
        return self.fit if self.read is None else "en-reader"


def unit_scores(features: NDArray[np.float64], fit: Fitted) -> NDArray[np.float64]:
    """(U, F) -> (U,)"""
    return Network.from_json(fitted()[fit]["sentences"], COLUMNS)(features)


def gather(
    store: LibraryStore,
    question: str,
    result: SearchResult,
    score: Score = unit_scores,
    *,
    scope: Scope = OWNER,
    reader: Callable[[], Reader | None] | None = None,
) -> Evidence:
    """Reads the units of the best passages and scores them, with vectors when the search had them. What is rare is
    counted in what `scope` shows. `reader` opens one that reads the passages too; it is called where they are of its language.
    """
    hits = result.hits[:PASSAGES]
    generation = store.generation()
    with store.catalogue.read() as connection:
        analysed = analyse(question, visible_words(store, connection, scope))
        units = units_of_article(question, units_of(connection, hits))
    embedder: Embedder | None = None
    if "dense" in result.timings_ms and result.language in store.languages(generation):
        embedder = store.embedder(generation)
    found = weigh(analysed, result, units, embedder, score)
    if reader is None or found.fit != "en-tokens" or not units or (opened := reader()) is None:
        return found
    return replace(found, read=read_units(opened, question, hits, units))


def weigh(
    question: Question,
    result: SearchResult,
    units: list[Unit],
    embedder: Embedder | None,
    score: Score = unit_scores,
) -> Evidence:
    """The evidence that these units make. `embedder`: None when it was not used, or does not know the language."""
    hits = result.hits[:PASSAGES]
    similar = similarities(question, units, embedder)
    late = late_features(question, hits, units, embedder)
    features = unit_features(question, hits, units, similar, late)
    fit = fitted_for(result.language, embedder)
    return Evidence(question, result, units, similar, fit, features, score(features, fit))


def fitted_for(language: str, embedder: Embedder | None) -> Fitted:
    """Which fit counts: with the vectors of an embedder that knows the language, or by words alone."""
    if embedder is None:
        return "zh-words" if language == "zh" else "en-words"
    return "en-tokens" if isinstance(embedder, TokenEmbedder) else "en-vectors"
