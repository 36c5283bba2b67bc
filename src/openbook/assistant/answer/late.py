"""Late interaction: how near in meaning each word of the question is to some word of a sentence.

For every token of the question the highest cosine to a token of the sentence, read inside its passage, so that "it"
stands for what it means there. Source: Khattab & Zaharia, "ColBERT" (2020), MaxSim; the vectors here are those that the
library's own embedder has before it pools them, without any training for this use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit, neighbour
from openbook.assistant.answer.question import Question, question_word
from openbook.core.messages import Embedder, TokenEmbedder, TokenVectors
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit
from openbook.library.split.sentences import Span

Matrix = NDArray[np.float64]

_OWN_COLUMNS = (
    "meaning",
    "meaning window",
    "meaning passage",
    "meaning of all",
    "meaning of all passage",
    "least meaning",
    "least meaning window",
    "least meaning passage",
    "meaning of question word",
    "meaning of names",
    "least meaning of names passage",
)
_BELOW_BEST = ("meaning", "meaning window", "meaning passage", "least meaning")
LATE_COLUMNS = (
    *_OWN_COLUMNS,
    "meaning below best of passage",
    *(f"{name} below best" for name in _BELOW_BEST),
)
_SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class _Words:
    """Of the question's tokens (Q,): their shares of the idf mass, adding up to 1 or 0; whether they carry meaning, are
    part of a name, or of the question word.
    """

    shares: Matrix
    is_content: NDArray[np.bool_]
    is_name: NDArray[np.bool_]
    asks: NDArray[np.bool_]


def late_features(question: Question, hits: Sequence[Hit], units: Sequence[Unit], embedder: Embedder | None) -> Matrix:
    """(U, len(LATE_COLUMNS)); zeros when there is no embedder or it does not show the vectors of its tokens."""
    if not isinstance(embedder, TokenEmbedder) or not units:
        return np.zeros((len(units), len(LATE_COLUMNS)))
    stretches = [
        (place, stretch)
        for place, hit in enumerate(hits)
        for stretch in _stretches(hit, [unit for unit in units if unit.hit == place], embedder)
    ]
    asked, *read = embedder.embed_tokens(
        [question.text, *(hits[place].text[start:end] for place, (start, end) in stretches)]
    )
    if not len(asked.vectors):
        return np.zeros((len(units), len(LATE_COLUMNS)))
    nearest = _nearest(
        asked,
        units,
        [
            (place, hits[place].start + start, tokens)
            for (place, (start, _)), tokens in zip(stretches, read, strict=True)
        ],
    )
    return _columns(nearest, units, _words(question, asked.spans))


def _stretches(hit: Hit, units: Sequence[Unit], embedder: TokenEmbedder) -> Iterator[Span]:
    """The hit's text, in as many parts as the embedder needs to read all of it; a part begins with a unit."""
    starts = [start for start, _ in embedder.tokens.spans(hit.text)]
    most = embedder.max_tokens - _SPECIAL_TOKENS
    begin = 0
    for unit in units:
        first, last = np.searchsorted(starts, [begin, unit.end - hit.start])
        if last - first > most and unit.start - hit.start > begin:
            yield begin, unit.start - hit.start
            begin = unit.start - hit.start
    yield begin, len(hit.text)


def _nearest(asked: TokenVectors, units: Sequence[Unit], read: Sequence[tuple[int, int, TokenVectors]]) -> Matrix:
    """(U, Q) of each question token the highest cosine to a token of the unit; `read`: (hit, start, tokens) each."""
    nearest = np.full((len(units), len(asked.vectors)), -1.0)
    for place, begin, tokens in read:
        if not len(tokens.vectors):
            continue
        cosines = asked.vectors @ tokens.vectors.T  # (Q, T)
        starts = tokens.spans[:, 0] + begin
        for i, unit in enumerate(units):
            first, last = np.searchsorted(starts, [unit.start, unit.end]) if unit.hit == place else (0, 0)
            if first < last:
                nearest[i] = np.maximum(nearest[i], cosines[:, first:last].max(axis=1))
    return np.where(nearest < -0.99, 0.0, nearest)


def _words(question: Question, spans: NDArray[np.int64]) -> _Words:
    """A token counts as the word that it is a piece of."""
    asking = question_word(question.text) or (0, 0)
    shares = dict(zip(question.terms, question.shares.tolist(), strict=True))
    names = {term for term, is_name in zip(question.terms, question.is_name.tolist(), strict=True) if is_name}
    words = [terms(_word_around(question.text, start, end)) for start, end in spans.tolist()]
    is_content = np.array([any(term not in STOPWORDS for term in word) for word in words], bool)
    asks = np.array([asking[0] <= start and end <= asking[1] for start, end in spans.tolist()], bool)
    mass = np.array([sum(shares.get(term, 0.0) for term in word) for word in words]) * is_content
    is_name = np.array([any(term in names for term in word) for word in words], bool)
    return _Words(mass / max(float(mass.sum()), 1e-9), is_content & ~asks, is_name, asks)


def _word_around(text: str, start: int, end: int) -> str:
    """The word that `start:end` is a piece of; nothing for a punctuation mark."""
    if not text[start:end].isalnum():
        return ""
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end]


def _columns(nearest: Matrix, units: Sequence[Unit], words: _Words) -> Matrix:
    """nearest: (U, Q) -> (U, len(LATE_COLUMNS))"""
    hits = np.array([unit.hit for unit in units])
    passages = np.stack([nearest[hits == hit].max(axis=0) for hit in hits])  # (U, Q)
    near = [[place for step in (-1, 1) if (place := neighbour(units, i, step)) is not None] for i in range(len(units))]
    windows = np.stack([nearest[[i, *places]].max(axis=0) for i, places in enumerate(near)])  # (U, Q)
    own = np.stack(
        [
            nearest @ words.shares,
            windows @ words.shares,
            passages @ words.shares,
            nearest.mean(axis=1),
            passages.mean(axis=1),
            _least(nearest, words.is_content, 0.0),
            _least(windows, words.is_content, 0.0),
            _least(passages, words.is_content, 0.0),
            nearest[:, words.asks].max(axis=1, initial=0.0),
            nearest[:, words.is_name].mean(axis=1) if words.is_name.any() else np.ones(len(units)),
            _least(passages, words.is_name, 1.0),
        ],
        axis=1,
    )
    meaning = own[:, 0]
    of_passage = np.array([meaning[hits == hit].max() for hit in hits])
    chosen = own[:, [_OWN_COLUMNS.index(name) for name in _BELOW_BEST]]
    return np.hstack([own, (meaning - of_passage)[:, None], chosen - chosen.max(axis=0)])


def _least(nearest: Matrix, chosen: NDArray[np.bool_], otherwise: float) -> Matrix:
    """(U,) the lowest of the chosen question tokens: the word that is matched worst."""
    if not chosen.any():
        return np.full(len(nearest), otherwise)
    lowest: Matrix = nearest[:, chosen].min(axis=1)
    return lowest
