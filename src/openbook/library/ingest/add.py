"""Adding paths to a library, and making it equal the folders that were added."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from openbook.core.errors import UsageError
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.rows import Generation, PathRow, Root
from openbook.library.catalogue.scope import OWNER
from openbook.library.documents.source import PART_BYTES
from openbook.library.ingest.pipeline import IngestSettings, Outcome, apply_plan, remove_gone
from openbook.library.ingest.plan import Plan, plan_folder
from openbook.library.ingest.records import plan_records
from openbook.library.split.settings import SplitSettings
from openbook.library.store import LibraryStore, no_vectors_note

DEFAULT_COLLECTION = "default"


@dataclass(frozen=True)
class AddOptions:
    """`records`: the paths are files of records. `reread`: read again what has not changed. `dry_run`: only plan.
    `part_bytes`: about how much of a large file is read at once.
    """

    collection: str = DEFAULT_COLLECTION
    exclude: tuple[str, ...] = ()
    records: bool = False
    reread: bool = False
    dry_run: bool = False
    max_file_bytes: int = 100_000_000
    file_timeout_s: float = 120.0
    part_bytes: int = PART_BYTES


@dataclass
class AddReport:
    """What was planned and, unless it was a dry run, what came of it."""

    plans: list[Plan] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [failure for outcome in self.outcomes for failure in outcome.failures]

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [receipt for outcome in self.outcomes for receipt in outcome.receipts]

    def totals(self) -> dict[str, int]:
        """Sums over all roots: added, changed, moved, copied, removed, skipped, unchanged; then read, chunks, failed."""
        sums: dict[str, int] = {}
        for plan in self.plans:
            for name, count in plan.summary().items():
                sums[name] = sums.get(name, 0) + count
        sums["read"] = sum(outcome.read for outcome in self.outcomes)
        sums["chunks"] = sum(outcome.chunks for outcome in self.outcomes)
        sums["failed"] = len(self.failures)
        return sums

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "totals": self.totals(),
            "plan": [_plan_json(plan) for plan in self.plans],
            "receipts": self.receipts,
            "failures": [{"path": path, "reason": reason} for path, reason in self.failures],
            "skipped": [{"path": str(one.path), "reason": one.reason} for plan in self.plans for one in plan.skipped],
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
        }


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "root": plan.root.path,
        "collection": plan.root.collection,
        "added": [file.path for file in plan.added],
        "changed": [file.path for file in plan.changed],
        "moved": [{"from": old, "to": file.path} for old, file in plan.moved],
        "copied": [file.path for _, file in plan.copied],
        "removed": [row.path for row in plan.removed],
        "kept": plan.kept,
    }


def add_paths(
    store: LibraryStore, paths: Sequence[Path], options: AddOptions, progress: Progress = silent
) -> AddReport:
    """Adds files and folders; what has not changed since is not read again. Raises `UsageError` for a missing path."""
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist", "check the path; nothing was added")
        if options.records and not path.is_file():
            raise UsageError(f"{path} is not a file of records", "--records takes JSONL files")

    def targets() -> Iterator[tuple[Root, Path]]:
        for path in paths:
            place = Path(os.path.normpath(path.absolute()))
            yield _root_for(store, place, options), place

    return _run(store, targets, options, progress, remove=False)


def sync(
    store: LibraryStore,
    options: AddOptions,
    progress: Progress = silent,
    confirm: Callable[[list[Plan]], bool] = lambda plans: True,
) -> AddReport:
    """Makes the library equal the roots that were added. `confirm` sees the plans before anything is done."""

    def targets() -> Iterator[tuple[Root, Path]]:
        with store.catalogue.read() as connection:
            known = reads.roots(connection)
        yield from ((root, Path(root.path)) for root in known)

    return _run(store, targets, options, progress, remove=True, confirm=confirm)


def _run(
    store: LibraryStore,
    targets: Callable[[], Iterator[tuple[Root, Path]]],
    options: AddOptions,
    progress: Progress,
    *,
    remove: bool,
    confirm: Callable[[list[Plan]], bool] = lambda plans: True,
) -> AddReport:
    began = time.perf_counter()
    report = AddReport(dry_run=options.dry_run)
    with ExitStack() as stack:
        lease = None if options.dry_run else stack.enter_context(store.catalogue.ingest_lease())
        generation = store.generation()
        for root, place in targets():
            progress("looking", len(report.plans), None, str(place))
            report.plans.append(_plan(store, root, place, options, remove=remove))
        if lease is not None and confirm(report.plans):
            settings = ingest_settings(store, generation, options, needed=any(plan.to_read for plan in report.plans))
            if generation.embedder is None:
                report.warnings.append(no_vectors_note())
            for plan in report.plans:
                report.outcomes.append(
                    apply_plan(store.catalogue, lease, plan, settings, progress, after_commit=store.indexes.settle)
                )
            for plan in report.plans:
                remove_gone(store.catalogue, plan)
                if not remove and not plan.skipped and not sum(plan.summary().values()):
                    report.warnings.append(f"{plan.root.path} holds no file that can be a document")
            cut = sum(outcome.truncated_chunks for outcome in report.outcomes)
            if cut and settings.embedder is not None:
                report.warnings.append(
                    f"{cut} chunks are longer than the {settings.embedder.max_tokens} tokens that the embedder reads: "
                    "their ends are found by words only (--chunk-tokens makes smaller ones)"
                )
            progress("indexing", 0, None, "")
            store.indexes.settle(at_end=True)
    report.seconds = time.perf_counter() - began
    return report


def _plan(store: LibraryStore, root: Root, place: Path, options: AddOptions, *, remove: bool) -> Plan:
    with store.catalogue.read() as connection:
        if root.kind == "records":
            return plan_records(connection, root, remove=remove)
        return plan_folder(
            connection,
            root,
            place,
            max_file_bytes=options.max_file_bytes,
            remove=remove,
            reread=options.reread,
        )


def _root_for(store: LibraryStore, path: Path, options: AddOptions) -> Root:
    """The root that `path` is, or the folder that has found files there; else a new one (which a dry run does not
    keep), so that what is added by its name stays, whatever an outer folder leaves out.
    """
    with store.catalogue.read() as connection:
        known = [root for root in reads.roots(connection) if root.collection == options.collection]
        found_by = {row.root_id for row in reads.paths_below(connection, str(path), options.collection)}
    if not options.records and not options.exclude:
        for root in known:
            if root.kind == "folder" and path.is_relative_to(root.path) and root.id in found_by:
                return root
    kind = "records" if options.records else "folder" if path.is_dir() else "file"
    if options.dry_run:
        return Root(0, str(path), options.collection, kind, options.exclude)
    with store.catalogue.write() as connection:
        root_id = writes.put_root(connection, str(path), options.collection, kind, options.exclude)
    return Root(root_id, str(path), options.collection, kind, options.exclude)


def ingest_settings(
    store: LibraryStore, generation: Generation, options: AddOptions, *, needed: bool = True
) -> IngestSettings:
    """How to read for a generation. The embedder is opened only when something is `needed` of it."""
    split = SplitSettings.model_validate_json(generation.splitter)
    embedder = store.embedder(generation) if needed else None
    return IngestSettings(
        split=split,
        tokenizer=store.tokenizer(generation),
        embedder=embedder,
        generation_id=generation.id,
        max_file_bytes=options.max_file_bytes,
        timeout_s=options.file_timeout_s,
        part_bytes=options.part_bytes,
    )


def remove_documents(store: LibraryStore, names: Sequence[str]) -> list[PathRow]:
    """Takes documents out of the library, by id or path; a name that is a folder takes all below it. Files stay."""
    with store.catalogue.ingest_lease():
        removed: list[PathRow] = []
        for name in names:
            with store.catalogue.read() as connection:
                below = _named(connection, name)
            for row in below:
                with store.catalogue.write() as connection:
                    writes.remove_path(connection, row.path, row.collection)
                    writes.exclude_from_root(connection, row.root_id, row.path)
            removed += below
        with store.catalogue.write() as connection:
            writes.drop_empty_roots(connection, [str(Path(name).absolute()) for name in names])
        store.indexes.settle()
    return removed


def _named(connection: apsw.Connection, name: str) -> list[PathRow]:
    """What a name stands for: a folder, file or file of records in every collection, else one document."""
    place = os.path.normpath(Path(name).absolute())
    found: list[PathRow] = []
    for collection in reads.collections(connection):
        found += reads.paths_below(connection, place, collection) or reads.records_of(connection, place, collection)
    if found:
        return found
    document = reads.find_document(connection, OWNER, name)
    rows = (reads.path_row(connection, path, document.collection) for path in document.paths)
    return [row for row in rows if row is not None]
