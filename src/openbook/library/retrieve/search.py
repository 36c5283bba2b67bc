"""One question to a library: BM25 and vectors, fused, reranked where that wins, folded; every stage scored and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw
import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.core.messages import Embedder
from openbook.library.catalogue import reads
from openbook.library.catalogue.rows import ChunkRow, DocumentRow, Generation
from openbook.library.catalogue.scope import OWNER, Scope
from openbook.library.lexical.bm25 import Among, Bm25Index
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.query import Query, parse_query
from openbook.library.retrieve.fold import Passage, fold_passages
from openbook.library.retrieve.fuse import DEPTH, Fused, Ids, Ranked, fuse_ranks, fuse_z_scores, z_scores
from openbook.library.retrieve.hit import Hit, SearchResult
from openbook.library.retrieve.indexes import Indexes
from openbook.library.retrieve.rerank import Candidate, Reranked, Reranking, RerankNote, rerank
from openbook.library.retrieve.reranker import Chosen, Wanted, choose_reranking
from openbook.library.retrieve.weights import dense_weight
from openbook.library.store import LibraryStore, language_note, no_vectors_note

Mode = Literal["hybrid", "dense", "bm25"]
Fusion = Literal["z-score", "rrf"]
MODES = ("hybrid", "dense", "bm25")
MOST_CHARACTERS = 8_192
_USUAL = Wanted()


class Stopwatch:
    """Milliseconds of each stage, in order."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - began) * 1000
            self.timings_ms[name] = round(self.timings_ms.get(name, 0.0) + spent, 3)

    def total(self) -> dict[str, float]:
        return self.timings_ms | {"total": round((time.perf_counter() - self._began) * 1000, 3)}


def search(
    store: LibraryStore,
    text: str,
    k: int = 10,
    *,
    mode: Mode = "hybrid",
    scope: Scope = OWNER,
    fusion: Fusion = "z-score",
    reranking: Wanted = _USUAL,
) -> SearchResult:
    """The `k` best passages for `text` among what `scope` shows.

    `"a phrase"`, `prefix*` and `-word` in `text` limit the passages before the best are taken. Raises `UsageError`
    for an empty or overlong query, an unknown mode, or `dense` in a library without an embedder.
    """
    _check(text, k, mode)
    with (
        _ranked(store, text, mode, scope, fusion, max(DEPTH, 4 * k), reranking) as ranked,
        ranked.watch.stage("fetch"),
    ):
        hits = _hits(ranked, scope, k)
    return SearchResult(
        *(text, ranked.generation.id, mode, ranked.language, hits, ranked.watch.total(), ranked.warnings, ranked.note)
    )


def rank_documents(
    store: LibraryStore,
    text: str,
    *,
    mode: Mode = "hybrid",
    scope: Scope = OWNER,
    fusion: Fusion = "z-score",
    reranking: Wanted = _USUAL,
) -> list[int]:
    """Ids of the documents for `text`, best first, each once (its best chunk counts); for evaluation."""
    with _ranked(store, text, mode, scope, fusion, DEPTH, reranking) as ranked:
        ids = ranked.ordered.fused.ids.tolist()
        found = reads.documents_of_chunks(ranked.connection, ids)
    return list(dict.fromkeys(found[one] for one in ids if one in found))


@dataclass
class _Ranked:
    """Fused chunk ids, how they are `ordered` in the end, and what they came from, in one state of the library."""

    connection: apsw.Connection
    generation: Generation
    language: str
    fused: Fused
    ordered: Reranked
    lists: dict[str, Ranked]
    watch: Stopwatch
    warnings: list[str]
    note: RerankNote | None


@contextmanager
def _ranked(
    store: LibraryStore, text: str, mode: Mode, scope: Scope, fusion: Fusion, depth: int, wanted: Wanted
) -> Iterator[_Ranked]:
    """Ranks chunks for `text`; the transaction that the ranking saw stays open inside the block."""
    watch = Stopwatch()
    warnings: list[str] = []
    query = parse_query(text)
    language = detect_language(query.text)
    generation = store.generation()
    embedder, weight = _embedder_for(store, generation, mode, language, warnings)
    vector = None
    if embedder is not None and query.text.strip():
        with watch.stage("embed_query"):
            vector = embedder.embed([query.text], "query")[0]
    chosen = _reranking(store, generation, query, language, wanted, vector is not None, watch, warnings)
    with store.catalogue.read() as connection:
        with watch.stage("open_indexes"):
            indexes = store.indexes.current(connection)
        if vector is not None and indexes.generation.embedder_hash != generation.embedder_hash:
            vector = None
            warnings.append("the library switched to another embedder meanwhile: this search used BM25 alone")
        with watch.stage("filter"):
            allowed = _allowed(connection, store, scope, indexes.generation, query, warnings)
            words = visible_words(store, connection, scope, indexes)
        lists = _lists(indexes, words, query, vector, weight, allowed, mode, depth, watch)
        with watch.stage("fuse"):
            fused = fuse_ranks(list(lists.values())) if fusion == "rrf" else fuse_z_scores(list(lists.values()))
        ordered, note = Reranked(fused, {}), chosen.note
        if chosen.reranking is not None:
            standard = fused
            if fusion == "rrf":  # the reranker's weight was fitted beside z-scores
                standard = Fused(fused.ids, z_scores(fused.scores.astype(np.float32)).astype(np.float64))
            with watch.stage("rerank"):
                ordered = _reranked(connection, scope, indexes.generation, query, standard, chosen.reranking)
            note = RerankNote(chosen.reranking.name, chosen.reranking.weight, len(ordered.scores))
        yield _Ranked(connection, indexes.generation, language, fused, ordered, lists, watch, warnings, note)


def _check(text: str, k: int, mode: str) -> None:
    if not text.strip():
        raise UsageError("the query is empty", "ask for something")
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the query has {len(text)} characters, the limit is {MOST_CHARACTERS}", "shorten it")
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is not known", f"one of {', '.join(MODES)}")
    if not 1 <= k <= 1_000:
        raise UsageError(f"k = {k} is out of range", "1 to 1000")


def _embedder_for(
    store: LibraryStore, generation: Generation, mode: Mode, language: str, warnings: list[str]
) -> tuple[Embedder | None, float]:
    """The embedder of this search and the weight of its list; (None, 0) where BM25 answers alone."""
    if mode == "bm25":
        return None, 0.0
    if generation.embedder_hash is None:
        if mode == "dense":
            raise UsageError("the library has no vectors", "`openbook setup embedder`, then `openbook reembed default`")
        warnings.append(no_vectors_note())
        return None, 0.0
    weight = dense_weight(generation.embedder_hash, store.languages(generation), language)
    if mode == "hybrid" and weight == 0:
        warnings.append(language_note(str(generation.embedder), language))
        return None, 0.0
    return store.embedder(generation), 1.0 if mode == "dense" else weight


def _reranking(
    store: LibraryStore,
    generation: Generation,
    query: Query,
    language: str,
    wanted: Wanted,
    has_vectors: bool,
    watch: Stopwatch,
    warnings: list[str],
) -> Chosen:
    """What reranks this search, opened where it was not yet."""
    if not query.text.strip():
        return Chosen()
    with watch.stage("open_reranker"):
        chosen = choose_reranking(wanted, store.reranker, generation.embedder_hash, language, has_vectors=has_vectors)
    if chosen.warning:
        warnings.append(chosen.warning)
    return chosen


def _reranked(
    connection: apsw.Connection,
    scope: Scope,
    generation: Generation,
    query: Query,
    fused: Fused,
    stage: Reranking,
) -> Reranked:
    """The fused chunks with the first in the reranker's order too. It reads what was embedded: headings, then the slice."""
    first = fused.ids[: stage.depth].tolist()
    rows = reads.chunks_by_id(connection, scope, generation.id, first)
    prefixes = reads.prefixes(connection, list(rows))
    candidates = {
        number: Candidate(prefixes[number] + row.text if row.text.strip() else "", row.language)
        for number, row in rows.items()
    }
    return rerank(query.text, fused, candidates, stage)


def _allowed(
    connection: apsw.Connection,
    store: LibraryStore,
    scope: Scope,
    generation: Generation,
    query: Query,
    warnings: list[str],
) -> Ids | None:
    """Ascending ids of the chunks that scope and query leave; None when neither leaves anything out.

    A phrase or prefix that no chunk in scope has is searched for as words, and said so.
    """
    allowed = store.scopes.allowed(connection, scope, generation)
    for expression in query.required():
        found = reads.phrase_chunk_ids(connection, expression)
        narrowed = found if allowed is None else np.intersect1d(allowed, found, assume_unique=True)
        if len(narrowed):
            allowed = narrowed
        else:
            warnings.append(f"no passage has {expression} word for word: its words were searched for")
    for expression in query.excluded():
        gone = reads.phrase_chunk_ids(connection, expression)
        if allowed is None:
            allowed = reads.every_chunk_id(connection, generation.id)
        allowed = np.setdiff1d(allowed, gone, assume_unique=True)
    return allowed


def visible_words(
    store: LibraryStore, connection: apsw.Connection, scope: Scope, indexes: Indexes | None = None
) -> Bm25Index | Among:
    """The lexical index as the principal sees it in the collections of `scope`: what it may not see does not count in
    the scores. The filters of the scope do not change what words are rare.
    """
    indexes = indexes or store.indexes.current(connection)
    visible = store.scopes.allowed(connection, Scope(scope.principal, scope.collections), indexes.generation)
    return indexes.lexical if visible is None else Among(indexes.lexical, visible)


def _lists(
    indexes: Indexes,
    words: Bm25Index | Among,
    query: Query,
    vector: NDArray[np.float32] | None,
    weight: float,
    allowed: Ids | None,
    mode: Mode,
    depth: int,
    watch: Stopwatch,
) -> dict[str, Ranked]:
    """The ranked lists by name; `dense` alone in dense mode."""
    lists: dict[str, Ranked] = {}
    if mode != "dense":
        with watch.stage("bm25"):
            share = 1.0 - weight if vector is not None else 1.0
            candidates = words.count() if allowed is None else len(allowed)
            lists["bm25"] = Ranked(*words.search(query.text, depth, allowed), share, candidates)
    if vector is not None and indexes.vectors is not None:
        with watch.stage("dense"):
            lists["dense"] = Ranked(*indexes.vectors.search(vector, depth, allowed), weight)
    return lists


def _hits(ranked: _Ranked, scope: Scope, k: int) -> list[Hit]:
    """Hits from fused chunk ids, best first: equal passages folded, neighbours merged, until there are `k`."""
    connection, generation = ranked.connection, ranked.generation
    ids = ranked.ordered.fused.ids
    found: list[Passage] = []
    rows: dict[int, ChunkRow] = {}
    documents: dict[int, DocumentRow] = {}
    taken = 0
    while taken < len(ids) and len(found) < k:
        step = ids[taken : taken + max(2 * k, 16)]
        taken += len(step)
        fresh = reads.chunks_by_id(connection, scope, generation.id, step.tolist())
        rows |= fresh
        unknown = {row.document_id for row in fresh.values()} - set(documents)
        documents |= reads.documents_by_id(connection, scope, sorted(unknown))
        ordered = [rows[int(chunk_id)] for chunk_id in ids[:taken] if int(chunk_id) in rows]
        found = fold_passages(ordered, documents)
    lists: dict[str, Ranked | Fused] = {**ranked.lists, "fused": ranked.fused, "score": ranked.ordered.fused}
    scores = {name: dict(zip(one.ids.tolist(), one.scores.tolist(), strict=True)) for name, one in lists.items()}
    scores["rerank"] = ranked.ordered.scores
    return [_hit(connection, number, passage, documents, scores) for number, passage in enumerate(found[:k], 1)]


def _hit(
    connection: apsw.Connection,
    rank: int,
    passage: Passage,
    documents: dict[int, DocumentRow],
    scores: dict[str, dict[int, float]],
) -> Hit:
    """`scores`: of each stage by chunk id, and "score", which orders."""
    best = passage.best
    document = documents[best.document_id]
    path, *others = document.paths or ("",)
    text = reads.text_between(connection, best.document_id, passage.start, passage.end)
    return Hit(
        rank=rank,
        id=f"c{best.id}",
        document_id=f"d{best.document_id}",
        collection=document.collection,
        path=path,
        also_in=(*others, *(p for p in passage.also_in if p != path and p not in others)),
        title=document.title,
        page=passage.page,
        heading=best.heading,
        start=passage.start,
        end=passage.end,
        text=text,
        anchors=tuple(reads.anchors_between(connection, best.document_id, passage.start, passage.end)),
        sha256=document.sha256,
        modified=document.modified,
        stale=is_stale(connection, path, document),
        language=best.language,
        score=scores["score"][best.id],
        scores={name: scores.get(name, {}).get(best.id) for name in ("dense", "bm25", "fused", "rerank")},
        chunk_ids=passage.chunk_ids,
    )


def is_stale(connection: apsw.Connection, path: str, document: DocumentRow) -> bool:
    """Whether the file behind `path` is no longer what was read: changed, gone, or changed and unreadable."""
    known = reads.path_row(connection, path, document.collection)
    if known is None or known.failure is not None:
        return True
    try:
        status = Path(reads.root_path(connection, known.root_id) if document.suffix == "#record" else path).stat()
    except OSError:
        return True
    if document.suffix == "#record":
        return status.st_mtime_ns != known.mtime_ns
    return (status.st_size, status.st_mtime_ns) != (known.size_bytes, known.mtime_ns)
