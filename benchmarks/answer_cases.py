"""Questions put to a library of which some paragraphs are hidden, as if they had never been added.

The passages are hidden before anything is ranked (the same way in which a permission hides them), so that no list, no
standardised score, no neighbour and no count of a word knows of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from answer_sets import Paragraph, Question, QuestionSet, library_of
from openbook.assistant.answer.evidence import Evidence, gather, weigh
from openbook.core.messages import Embedder, TextKind, TokenVectors
from openbook.library.embed.open import open_embedder
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.search import Mode, search
from openbook.library.store import LibraryStore


class Remembering:
    """An embedder that embeds a text once: the same sentences come up for many questions of a paragraph."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._vectors: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._tokens: dict[str, tuple[NDArray[np.float16], NDArray[np.int64]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if (text, kind) not in self._vectors]
        for text, vector in zip(fresh, self._inner.embed(fresh, kind) if fresh else (), strict=True):
            self._vectors[text, kind] = vector
        return np.array([self._vectors[text, kind] for text in texts], np.float32)

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        found = self._inner.embed_tokens(fresh)  # type: ignore[attr-defined]
        for text, (vectors, spans) in zip(fresh, found, strict=True):
            self._tokens[text] = vectors.astype(np.float16), spans  # half of the memory
        kept = (self._tokens[text] for text in texts)
        return [TokenVectors(vectors.astype(np.float32), spans) for vectors, spans in kept]


class _Hiding:
    """Stands in for the store's cache of scopes."""

    def __init__(self) -> None:
        self.allowed_ids: NDArray[np.int64] | None = None

    def allowed(self, *_: object) -> NDArray[np.int64] | None:
        return self.allowed_ids


class Shelf:
    """A library of paragraphs under `work`, some of which can be hidden for a question."""

    def __init__(self, name: str, paragraphs: Sequence[Paragraph], work: Path, embedder: Embedder) -> None:
        self.name = name
        library_of(paragraphs, work / name).close()
        self.store = LibraryStore(work / name, embedder=embedder)
        self._hiding = _Hiding()
        self.store.__dict__["scopes"] = self._hiding
        self._paragraphs = paragraphs
        self._chunks: dict[str, list[int]] = {}
        with self.store.catalogue.read() as connection:
            rows = connection.execute("SELECT c.id, p.path FROM chunks c JOIN paths p USING (document_id)")
            for chunk_id, path in rows:
                self._chunks.setdefault(path.partition("#")[2], []).append(chunk_id)
        self._all = np.array(sorted(i for ids in self._chunks.values() for i in ids), np.int64)
        self._shown = self._all

    def show_only(self, paragraphs: Iterable[str]) -> None:
        """The library is these paragraphs from now on."""
        self._shown = np.array(sorted(chunk for name in paragraphs for chunk in self._chunks[name]), np.int64)
        self.hide(())

    def hide(self, paragraphs: Iterable[str]) -> None:
        """Nothing is found in these paragraphs until the next call."""
        gone = [chunk for name in paragraphs for chunk in self._chunks.get(name, ())]
        is_whole = not gone and len(self._shown) == len(self._all)
        self._hiding.allowed_ids = None if is_whole else np.setdiff1d(self._shown, np.array(gone, np.int64))

    def hide_answers(self, question: Question) -> None:
        """Hides the question's own paragraph and every other that holds one of its answers."""
        bearing = [p.id for p in self._paragraphs if any(answer in p.text for answer in question.answers)]
        self.hide([question.paragraph, *bearing])

    def evidence(self, text: str, mode: Mode = "hybrid") -> Evidence:
        """What a network is fitted on: without scores, which would be those of the last fit."""
        found = search(self.store, text, 10, mode=mode, reranking=Wanted(purpose="ask"))
        return gather(self.store, text, found, score=_no_score)

    def without_answers(self, question: Question, evidence: Evidence) -> Evidence:
        """The evidence without the sentences that hold an answer, which leaves gaps in passages that stay."""
        kept = [unit for unit in evidence.units if not any(answer in unit.text for answer in question.answers)]
        embedder = self.store.embedder() if evidence.similar.has_vectors else None
        return weigh(evidence.question, evidence.result, kept, embedder, score=_no_score)

    def close(self) -> None:
        self.store.close()


def _no_score(features: NDArray[np.float64], _: str) -> NDArray[np.float64]:
    return np.zeros(len(features))


def default_embedder() -> Embedder:
    found = open_embedder(None)
    assert found is not None, "needs the default embedder: `openbook setup embedder`"
    return Remembering(found)  # type: ignore[return-value]


def labels(question: Question, evidence: Evidence) -> NDArray[np.bool_]:
    """(U,) whether each unit covers an annotated span in the question's own paragraph."""
    hits = evidence.result.hits
    return np.array(
        [
            hits[unit.hit].path.partition("#")[2] == question.paragraph
            and any(unit.start <= start and end <= unit.end for start, end in question.spans)
            for unit in evidence.units
        ],
        bool,
    )


def shelf_of(one: QuestionSet, work: Path, embedder: Embedder) -> Shelf:
    return Shelf(one.name, one.paragraphs, work, embedder)
