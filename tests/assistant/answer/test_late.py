"""Late interaction: against a plain reference, whole passages read however long, and nothing without token vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doubles import HashEmbedder, WordEmbedder
from openbook.assistant.answer.candidates import neighbour, units_of
from openbook.assistant.answer.evidence import gather
from openbook.assistant.answer.late import LATE_COLUMNS, late_features
from openbook.assistant.answer.question import analyse
from openbook.assistant.desk import Library
from openbook.library.retrieve.search import search

DOCUMENT = "The ferry leaves at noon. It returns at dusk.\n\nDogs travel free on the ferry. " + " ".join(
    f"Cabin {number} has a lamp." for number in range(60)
)
QUESTION = "When does the ferry to Sark return?"


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def library(tmp_path: Path, embedder: WordEmbedder) -> Iterator[Library]:
    (tmp_path / "ferry.txt").write_text(DOCUMENT)
    with Library.open(tmp_path / "library", embedder=embedder) as opened:
        opened.add(tmp_path / "ferry.txt")
        yield opened


def column(matrix: np.ndarray, name: str) -> np.ndarray:
    return matrix[:, LATE_COLUMNS.index(name)]


def units_and_question(library: Library, text: str = QUESTION):
    hits = library.search("ferry cabin lamp", 3)
    with library.store.catalogue.read() as connection:
        question = analyse(text, library.store.indexes.current(connection).lexical)
        return hits, units_of(connection, hits), question


def test_each_word_counts_by_its_nearest_word_in_the_sentence(library, embedder):
    hits, units, question = units_and_question(library)
    [asked] = embedder.embed_tokens([QUESTION])
    shares = dict(zip(question.terms, question.shares.tolist(), strict=True))
    weights = np.array([shares.get(word, 0.0) for word in ("", "", "", "ferri", "", "sark", "return", "")])
    weights /= weights.sum()
    nearest = np.stack([(asked.vectors @ embedder.embed_tokens([unit.text])[0].vectors.T).max(1) for unit in units])
    found = late_features(question, hits, units, embedder)
    assert column(found, "meaning") == pytest.approx(nearest @ weights, abs=1e-6)
    assert column(found, "meaning of all") == pytest.approx(nearest.mean(1), abs=1e-6)
    content = np.array([False, False, False, True, False, True, True, False])
    assert column(found, "least meaning") == pytest.approx(nearest[:, content].min(1), abs=1e-6)
    assert column(found, "meaning of names") == pytest.approx(nearest[:, 5], abs=1e-6)
    beside = [[i, *(p for step in (-1, 1) if (p := neighbour(units, i, step)) is not None)] for i in range(len(units))]
    window = np.stack([nearest[places].max(0) for places in beside])
    assert column(found, "meaning window") == pytest.approx(window @ weights, abs=1e-6)


def test_a_sentence_with_the_same_words_is_nearest(library, embedder):
    hits, units, question = units_and_question(library, "Do dogs travel free?")
    found = late_features(question, hits, units, embedder)
    best = int(np.argmax(column(found, "meaning")))
    assert "Dogs travel free" in units[best].text
    assert column(found, "least meaning")[best] == pytest.approx(1.0, abs=1e-6)
    assert column(found, "meaning below best")[best] == 0.0
    assert (np.delete(column(found, "meaning below best"), best) < 0).all()


@pytest.mark.parametrize("max_tokens", [12, 40, 256])
def test_a_passage_longer_than_the_model_reads_is_read_in_parts(library, embedder, max_tokens):
    hits, units, question = units_and_question(library)
    whole = late_features(question, hits, units, embedder)
    embedder.max_tokens = max_tokens  # the vectors of words do not depend on where a part begins
    assert late_features(question, hits, units, embedder) == pytest.approx(whole, abs=1e-6)


def test_without_token_vectors_there_is_nothing_to_say_and_another_fit_counts(library, embedder, tmp_path):
    hits, units, question = units_and_question(library)
    assert not late_features(question, hits, units, HashEmbedder()).any()
    assert not late_features(question, hits, units, None).any()
    assert late_features(question, hits, [], embedder).shape == (0, len(LATE_COLUMNS))
    with Library.open(tmp_path / "other", embedder=HashEmbedder()) as other:
        other.add(tmp_path / "ferry.txt")
        assert gather(other.store, QUESTION, search(other.store, QUESTION, 3)).fit == "en-vectors"
        assert gather(other.store, QUESTION, search(other.store, QUESTION, 3, mode="bm25")).fit == "en-words"
    assert gather(library.store, QUESTION, search(library.store, QUESTION, 3)).fit == "en-tokens"
