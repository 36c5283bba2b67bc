"""Carries out a plan: worker processes read and split, this process embeds in batches and commits document by document.

Results come back in the order of the plan, so that two runs give the same ids, wherever one of them was cut off.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import Embedder, Scorer
from openbook.core.progress import Progress
from openbook.core.sandbox import WorkerFailure, WorkerPool
from openbook.core.threads import available_cpus
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.catalogue.lease import IngestLease
from openbook.library.catalogue.packing import pack_vector
from openbook.library.catalogue.rows import FoundFile
from openbook.library.documents.model import Document
from openbook.library.ingest.plan import Plan
from openbook.library.ingest.records import planned_lines
from openbook.library.ingest.work import Plain, chunk_plain, counter_of, read_result
from openbook.library.split.settings import SplitSettings
from openbook.library.split.similarity import EmbedderSimilarity
from openbook.library.split.split import split

BATCH_CHUNKS = 512
"""Chunks embedded together: enough to sort by length, few enough that memory does not grow with the library."""

KEPT_RECEIPTS = 1_000


@dataclass(frozen=True)
class IngestSettings:
    """`tokenizer`: directory of the embedder's tokenizer, None for the approximate count. `embedder` None: BM25 only.
    `timeout_s` and `memory_bytes` limit the reading of one file.
    """

    split: SplitSettings
    tokenizer: str | None
    embedder: Embedder | None
    generation_id: int
    max_file_bytes: int = 100_000_000
    timeout_s: float = 120.0
    memory_bytes: int = 3 << 30
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
    done = 0
    for batch in _batches(_results(plan, settings, outcome, catalogue), settings):
        vectors = _embed(batch, settings, outcome)
        for (file, result), blobs in zip(batch, vectors, strict=True):
            with catalogue.write() as connection:
                document_id = writes.put_document(connection, read_result(file, result, blobs), settings.generation_id)
                lease.beat()
            done += 1
            outcome.read += 1
            outcome.chunks += len(result["chunks"])
            _keep_receipt(outcome, _receipt(file, document_id, result))
            progress("reading", done + len(outcome.failures), total, file.path)
        after_commit()
    return outcome


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


def _results(
    plan: Plan, settings: IngestSettings, outcome: Outcome, catalogue: Catalogue
) -> Iterator[tuple[FoundFile, Plain]]:
    """What the workers made of each file, in order; failures are noted in the catalogue and left out."""
    if not plan.to_read:
        return
    splits_here = settings.split.splitter == "semantic"
    sent: deque[FoundFile] = deque()

    def tasks() -> Iterator[Plain]:
        for file, record in _sources(plan):
            sent.append(file)
            yield {
                "path": file.path,
                "sha256": file.sha256,
                "record": record,
                "max_file_bytes": settings.max_file_bytes,
                "split": None if splits_here else settings.split.model_dump(),
                "tokenizer": settings.tokenizer,
            }

    with WorkerPool(
        "openbook.library.ingest.work:work",
        workers=max(1, min(settings.workers, len(plan.to_read))),
        memory_bytes=settings.memory_bytes,
        timeout_s=settings.timeout_s,
    ) as pool:
        for _, value in pool.map(tasks()):
            file = sent.popleft()
            if isinstance(value, WorkerFailure):
                _note_failure(catalogue, outcome, file, value)
                continue
            if splits_here:
                split_here(value, settings)
            yield file, value


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
    document = Document.from_plain(result["document"])
    scorer = similarity_of(settings.split, settings.embedder)
    chunks = split(document, settings.split, counter_of(settings.tokenizer), scorer)
    result["chunks"] = [chunk_plain(chunk, document) for chunk in chunks]


def similarity_of(split: SplitSettings, embedder: Embedder | None) -> Scorer | None:
    """The scorer that a splitter needs: the embedder's similarity for the semantic one, None for the others."""
    if split.splitter != "semantic":
        return None
    if embedder is None:
        raise ModelUnavailable(
            "the semantic splitter needs an embedder", "`openbook setup embedder`, or another splitter"
        )
    return EmbedderSimilarity(embedder)


def _batches(
    results: Iterable[tuple[FoundFile, Plain]], settings: IngestSettings
) -> Iterator[list[tuple[FoundFile, Plain]]]:
    """Documents together until they have `BATCH_CHUNKS` chunks or have waited a second for others."""
    batch: list[tuple[FoundFile, Plain]] = []
    count = 0
    began = time.monotonic()
    for file, result in results:
        if not batch:
            began = time.monotonic()
        batch.append((file, result))
        count += len(result["chunks"])
        if count >= BATCH_CHUNKS or time.monotonic() - began > 1.0:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _embed(
    batch: list[tuple[FoundFile, Plain]], settings: IngestSettings, outcome: Outcome
) -> list[list[bytes] | None]:
    """The packed vectors of each document's chunks; None for all when there is no embedder.

    Chunks that are longer than the embedder reads are counted: their ends are found by words only.
    """
    if settings.embedder is None:
        return [None] * len(batch)
    texts = list(dict.fromkeys(chunk[2] for _, result in batch for chunk in result["chunks"]))
    before = settings.embedder.truncated
    rows = settings.embedder.embed(texts, "passage") if texts else ()
    outcome.truncated_chunks += settings.embedder.truncated - before
    packed = {text: pack_vector(row) for text, row in zip(texts, rows, strict=True)}
    return [[packed[chunk[2]] for chunk in result["chunks"]] for _, result in batch]


def _keep_receipt(outcome: Outcome, receipt: dict[str, Any]) -> None:
    """Keeps the first `KEPT_RECEIPTS` and every one that names a loss; the catalogue has them all."""
    if len(outcome.receipts) < KEPT_RECEIPTS or receipt["not_searchable"]:
        outcome.receipts.append(receipt)


def _receipt(file: FoundFile, document_id: int, result: Plain) -> dict[str, Any]:
    document = result["document"]
    return {
        "path": file.path,
        "document_id": f"d{document_id}",
        "kind": document["kind"],
        "title": document["title"],
        "language": result["language"],
        "chunks": len(result["chunks"]),
        "seconds": round(result["seconds"], 3),
        **document["receipt"],
    }
