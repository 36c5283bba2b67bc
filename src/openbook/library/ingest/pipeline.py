"""Carries out a plan: worker processes read and split, this process embeds in batches and commits document by document.

Results come back in the order of the plan, so that two runs give the same ids, wherever one of them was cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import Embedder, Scorer
from openbook.core.progress import Progress
from openbook.core.sandbox import WorkerFailure, WorkerPool
from openbook.core.threads import available_cpus
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.catalogue.lease import IngestLease
from openbook.library.catalogue.rows import FoundFile, IndexedChunk, ReadPart
from openbook.library.documents.source import PART_BYTES
from openbook.library.ingest.embedding import batches, embed_chunks
from openbook.library.ingest.gather import Gathering
from openbook.library.ingest.plan import Plan
from openbook.library.ingest.records import planned_lines
from openbook.library.ingest.shelf import Shelf
from openbook.library.ingest.work import Plain, counter_of, document_of, indexed
from openbook.library.split.next_sentence import NextSentenceScorer
from openbook.library.split.settings import SplitSettings
from openbook.library.split.similarity import EmbedderSimilarity
from openbook.library.split.split import split

KEPT_RECEIPTS = 1_000


@dataclass(frozen=True)
class IngestSettings:
    """`tokenizer`: directory of the embedder's tokenizer, None for the approximate count. `embedder` None: BM25 only.
    `timeout_s` and `memory_bytes` limit the reading of one file, or of one part of a file of over two `part_bytes`.
    """

    split: SplitSettings
    tokenizer: str | None
    embedder: Embedder | None
    generation_id: int
    max_file_bytes: int = 100_000_000
    timeout_s: float = 120.0
    memory_bytes: int = 3 << 30
    part_bytes: int = PART_BYTES
    workers: int = field(default_factory=available_cpus)


@dataclass
class Outcome:
    """What happened to each path of a plan. `receipts` are (path, document id, chunks, worker's result without text)."""

    read: int = 0
    chunks: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    truncated_chunks: int = 0


def apply_plan(
    catalogue: Catalogue,
    lease: IngestLease,
    plan: Plan,
    settings: IngestSettings,
    progress: Progress,
    after_commit: Callable[[], None] = lambda: None,
) -> Outcome:
    """Moves and copies first, then every file to read; each in a transaction of its own. `remove_gone` comes last.

    `after_commit` is called after each batch of commits (the derived indexes are brought up to date there).
    """
    _apply_path_changes(catalogue, plan)
    outcome = Outcome()
    total = len(plan.to_read)
    with Shelf(catalogue.directory) as shelf:
        storing = _Storing(catalogue, lease, shelf, settings, outcome, progress, total)
        for batch in batches(_results(plan, settings, outcome, catalogue)):
            storing.store(batch)
            batch.clear()  # what is stored is not held while the workers read on
            after_commit()
    return outcome


class Piece(NamedTuple):
    """What a worker made of part `number` of the `of` parts of a file."""

    file: FoundFile
    number: int
    of: int
    result: Plain
    chunks: Sequence[IndexedChunk]


@dataclass
class _Storing:
    """Puts parts on the shelf as they come, and every document whose last part has come into the catalogue."""

    catalogue: Catalogue
    lease: IngestLease
    shelf: Shelf
    settings: IngestSettings
    outcome: Outcome
    progress: Progress
    total: int
    gathering: Gathering | None = None

    def store(self, batch: Sequence[Piece]) -> None:
        texts = [(piece.result["text"], piece.chunks) for piece in batch]
        for piece, chunks in zip(batch, embed_chunks(texts, self.settings.embedder, self.outcome), strict=True):
            if piece.number == 0 or self.gathering is None:
                self.gathering = Gathering(piece.file)
            parts = self.shelf.put(piece.number, piece.of, self.gathering.add(piece.result, chunks))
            if parts is not None:
                self._commit(self.gathering, parts)
            done = self.outcome.read + len(self.outcome.failures)
            self.progress("reading", done, self.total, _shown(piece))

    def _commit(self, gathering: Gathering, parts: Iterable[ReadPart]) -> None:
        with self.catalogue.write() as connection:
            read = gathering.document(parts)
            document_id = writes.put_document(connection, read, self.settings.generation_id)
            self.lease.beat()
        self.outcome.read += 1
        self.outcome.chunks += gathering.chunks
        _keep_receipt(self.outcome, _receipt(gathering, document_id))


def _shown(piece: Piece) -> str:
    return piece.file.path if piece.of == 1 else f"{piece.file.path} (part {piece.number + 1} of {piece.of})"


def _apply_path_changes(catalogue: Catalogue, plan: Plan) -> None:
    """Moves and copies lead new paths to a document that holds these very bytes now; where none does any more, because
    another root's plan has changed it meanwhile, the file is read like a new one.
    """
    for file in [*(file for _, file in plan.moved), *(file for _, file in plan.copied)]:
        with catalogue.write() as connection:
            same = reads.document_with_content(connection, file.collection, file.sha256, file.suffix)
            if same is not None:
                writes.attach_path(connection, file, same[0])
        if same is None:
            plan.added.append(file)
    for old, file in plan.moved:
        with catalogue.write() as connection:
            if not Path(old).exists():
                writes.remove_path(connection, old, file.collection)
    for file in plan.touched:
        with catalogue.write() as connection:
            writes.touch_path(connection, file)


def remove_gone(catalogue: Catalogue, plan: Plan) -> None:
    """Forgets the paths that are gone; after every root's new paths are in place, so that what moved is not lost."""
    for row in plan.removed:
        with catalogue.write() as connection:
            writes.remove_path(connection, row.path, row.collection)


def _results(plan: Plan, settings: IngestSettings, outcome: Outcome, catalogue: Catalogue) -> Iterator[Piece]:
    """What the workers made of each file, part by part, in order; failures are noted in the catalogue and left out."""
    if not plan.to_read:
        return
    splits_here = settings.split.splitter == "semantic"
    sent: deque[tuple[FoundFile, int, int]] = deque()
    failed: set[str] = set()

    def fail(file: FoundFile, failure: WorkerFailure) -> None:
        failed.add(file.path)
        _note_failure(catalogue, outcome, file, failure)

    def tasks() -> Iterator[Plain]:
        for file, record in _sources(plan):
            portions = scanned.get(file.path, [None])
            for number, portion in enumerate(portions):
                if file.path in failed:
                    break
                sent.append((file, number, len(portions)))
                yield _task(file, record, portion, number == len(portions) - 1, settings)

    large = _large(plan, settings)
    last: Piece | None = None
    with WorkerPool(
        "openbook.library.ingest.work:work",
        workers=settings.workers if large else max(1, min(settings.workers, len(plan.to_read))),
        memory_bytes=settings.memory_bytes,
        timeout_s=settings.timeout_s,
    ) as pool:
        scanned = _scanned(pool, large, settings, fail)
        for _, value in pool.map(tasks()):
            file, number, of = sent.popleft()
            if file.path in failed:
                continue
            if isinstance(value, WorkerFailure):
                fail(file, value)
                continue
            if splits_here:
                split_here(value, settings)
            if last is not None:
                yield last
            last = Piece(file, number, of, value, [IndexedChunk(*chunk) for chunk in value.pop("chunks")])
            del value  # `last` is the one part that waits here
    if last is not None:  # held back until the workers have ended: their memory is free for the indexes
        yield last


def _large(plan: Plan, settings: IngestSettings) -> list[FoundFile]:
    """The files that are looked through before they are read, to find in which parts."""
    if plan.root.kind == "records":
        return []
    return [file for file in plan.to_read if file.size_bytes > 2 * settings.part_bytes]


def _scanned(
    pool: WorkerPool, files: list[FoundFile], settings: IngestSettings, fail: Callable[[FoundFile, WorkerFailure], None]
) -> dict[str, list[Plain | None]]:
    """The portions of each large file; [None] for one that is read whole."""
    found: dict[str, list[Plain | None]] = {}
    tasks = [
        {"scan": True, "path": file.path, "sha256": file.sha256, "part_bytes": settings.part_bytes} for file in files
    ]
    for file, (_, value) in zip(files, pool.map(tasks), strict=True):
        if isinstance(value, WorkerFailure):
            fail(file, value)
        else:
            found[file.path] = value["portions"] or [None]
    return found


def _task(file: FoundFile, record: str | None, portion: Plain | None, is_last: bool, settings: IngestSettings) -> Plain:
    return {
        "path": file.path,
        "sha256": file.sha256,
        "status": [file.size_bytes, file.mtime_ns],
        "record": record,
        "portion": portion,
        "is_last": is_last,
        "max_file_bytes": settings.max_file_bytes,
        "split": None if settings.split.splitter == "semantic" else settings.split.model_dump(),
        "tokenizer": settings.tokenizer,
    }


def _sources(plan: Plan) -> Iterator[tuple[FoundFile, str | None]]:
    if plan.root.kind == "records":
        yield from planned_lines(plan.root, plan.to_read)
    else:
        yield from ((file, None) for file in plan.to_read)


def _note_failure(catalogue: Catalogue, outcome: Outcome, file: FoundFile, failure: WorkerFailure) -> None:
    reason = f"{failure.message}: {failure.remedy}" if failure.remedy else failure.message
    outcome.failures.append((file.path, reason))
    with catalogue.write() as connection:
        writes.put_failure(connection, file, reason)


def split_here(result: Plain, settings: IngestSettings) -> None:
    """Splits in this process, where the embedder lives that scores neighbours."""
    document = document_of(result)
    scorer = similarity_of(settings.split, settings.embedder)
    result["chunks"] = indexed(document, split(document, settings.split, counter_of(settings.tokenizer), scorer))


def similarity_of(split: SplitSettings, embedder: Embedder | None) -> Scorer | None:
    """The scorer that a splitter needs: the semantic one that of its settings, None for the others."""
    if split.splitter != "semantic":
        return None
    if embedder is None:
        raise ModelUnavailable(
            "the semantic splitter needs an embedder", "`openbook setup embedder`, or another splitter"
        )
    similarity = EmbedderSimilarity(embedder)
    return NextSentenceScorer(similarity) if split.scorer == "next-sentence" else similarity


def _keep_receipt(outcome: Outcome, receipt: dict[str, Any]) -> None:
    """Keeps the first `KEPT_RECEIPTS` and every one that names a loss; the catalogue has them all."""
    if len(outcome.receipts) < KEPT_RECEIPTS or receipt["not_searchable"]:
        outcome.receipts.append(receipt)


def _receipt(gathering: Gathering, document_id: int) -> dict[str, Any]:
    return {
        "path": gathering.file.path,
        "document_id": f"d{document_id}",
        "kind": gathering.head["kind"],
        "title": gathering.head["title"],
        "language": gathering.head["language"],
        "chunks": gathering.chunks,
        "seconds": round(gathering.seconds, 3),
        **gathering.receipt,
    }
