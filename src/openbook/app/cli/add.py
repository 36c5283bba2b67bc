"""`openbook init`, `add` and `sync`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openbook.app.cli.options import (
    ChunkTokensOption,
    EmbedderOption,
    JsonOption,
    LibraryOption,
    OverlapOption,
    ScorerOption,
    SplitterOption,
    opened,
    print_failures,
    print_json,
    progress_bar,
    settings,
    shown_path,
    split_settings,
    warn,
)

if TYPE_CHECKING:
    from openbook.library.ingest.add import AddReport
    from openbook.library.ingest.plan import Plan

_LISTED = 20
_FAILED_FILES = 4


def init(
    library: LibraryOption = None,
    splitter: SplitterOption = None,
    scorer: ScorerOption = None,
    chunk_tokens: ChunkTokensOption = None,
    overlap_tokens: OverlapOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Make a new library with settings of its own."""
    from openbook.core.paths import library_path
    from openbook.library.store import LibraryStore, no_vectors_note

    directory = library_path(library or settings().library)
    store = LibraryStore.create(directory, split_settings(splitter, chunk_tokens, overlap_tokens, scorer), embedder)
    generation = store.generation()
    print(f"made {directory}: splitter {generation.splitter}, embedder {generation.embedder or 'none'}")
    if generation.embedder is None:
        warn(no_vectors_note())
    store.close()


def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    library: LibraryOption = None,
    collection: Annotated[
        str, typer.Option("--collection", metavar="NAME", help="Where the documents go.")
    ] = "default",
    records: Annotated[
        bool, typer.Option("--records", help='Each line {"id", "title", "text"} is a document.')
    ] = False,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="As in .gitignore.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    reread: Annotated[bool, typer.Option("--reread", help="Read again what has not changed.")] = False,
    splitter: SplitterOption = None,
    scorer: ScorerOption = None,
    chunk_tokens: ChunkTokensOption = None,
    overlap_tokens: OverlapOption = None,
    embedder: EmbedderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add files and folders; only what changed is read again."""
    from openbook.core.errors import UsageError
    from openbook.core.paths import library_path
    from openbook.library.catalogue.catalogue import is_library

    chosen = settings()
    directory = library_path(library or chosen.library)
    is_new = not is_library(directory)
    given = (splitter, scorer, chunk_tokens, overlap_tokens, embedder)
    if not is_new and any(value is not None for value in given):
        raise UsageError(f"{directory} has its settings already", "`openbook reembed` changes them")
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]} does not exist", "check the path; nothing was added")
    options: dict[str, Any] = {}
    if is_new:
        options = {"split": split_settings(splitter, chunk_tokens, overlap_tokens, scorer), "embedder": embedder}
    with opened(library, create=True, **options) as desk, progress_bar(as_json) as progress:
        report = desk.add(
            *paths,
            collection=collection,
            exclude=exclude or (),
            records=records,
            dry_run=dry_run,
            reread=reread,
            max_file_bytes=chosen.max_file_bytes,
            file_timeout_s=chosen.file_timeout_s,
            progress=progress,
        )
    _finish(report, as_json)


def sync(
    library: LibraryOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the plan, then make the library equal the folders that were added."""
    chosen = settings()

    def confirm(plans: list[Plan]) -> bool:
        if not as_json:
            for plan in plans:
                _print_plan(plan)
        return True

    with opened(library) as desk, progress_bar(as_json) as progress:
        report = desk.sync(
            dry_run=dry_run,
            confirm=confirm,
            progress=progress,
            max_file_bytes=chosen.max_file_bytes,
            file_timeout_s=chosen.file_timeout_s,
        )
    if dry_run and not as_json:
        confirm(report.plans)
    _finish(report, as_json)


def _finish(report: AddReport, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report)
    if report.failures or any(one.refused for plan in report.plans for one in plan.skipped):
        sys.exit(_FAILED_FILES)


def _print_plan(plan: Plan) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in plan.summary().items() if count) or "nothing"
    print(f"{shown_path(plan.root.path)}: {counts}")
    rows = [
        *(f"  + {shown_path(file.path)}" for file in plan.added),
        *(f"  ~ {shown_path(file.path)}" for file in plan.changed),
        *(f"  > {shown_path(old)} -> {shown_path(file.path)}" for old, file in plan.moved),
        *(f"  = {shown_path(file.path)} (the same bytes as a document)" for _, file in plan.copied),
        *(f"  - {shown_path(row.path)}" for row in plan.removed),
    ]
    _print_some(rows)
    if plan.kept:
        warn(plan.kept)


def _print_some(rows: list[str]) -> None:
    print("\n".join(rows[:_LISTED])) if rows else None
    if len(rows) > _LISTED:
        print(f"  ... and {len(rows) - _LISTED} more (--json lists all)")


def _print_report(report: AddReport) -> None:
    totals = report.totals()
    if report.dry_run:
        for plan in report.plans:
            _print_plan(plan)
        print("nothing was changed (--dry-run)")
        return
    _print_some([_receipt_line(receipt) for receipt in report.receipts])
    for receipt in report.receipts:
        for loss in receipt["not_searchable"]:
            print(f"  ! {shown_path(receipt['path'])}: not searchable: {loss}")
    print_failures(report.failures)
    skipped: dict[str, int] = {}
    for plan in report.plans:
        for one in plan.skipped:
            if one.refused:
                print(f"  x {shown_path(str(one.path))}: {one.reason}")
            else:
                skipped[one.reason] = skipped.get(one.reason, 0) + 1
        if plan.kept:
            warn(plan.kept)
    for reason, count in sorted(skipped.items()):
        print(f"  . {count} skipped: {reason}")
    changes = ", ".join(f"{totals[name]} {name}" for name in ("moved", "copied", "removed", "failed") if totals[name])
    print(
        f"{totals['read']} read ({totals['chunks']} chunks), {totals['unchanged']} unchanged"
        + (f", {changes}" if changes else "")
        + f", in {report.seconds:.1f} s"
    )
    for warning in report.warnings:
        warn(warning)


def _receipt_line(receipt: dict[str, Any]) -> str:
    parts = [f"{receipt['pages']} pages"] if receipt["pages"] else []
    parts += [f"{receipt['tables']} tables"] if receipt["tables"] else []
    parts += [f"{receipt['chunks']} chunks", f"{receipt['seconds']:.2f} s"]
    return f"  + {receipt['document_id']} {shown_path(receipt['path'])} ({receipt['kind']}: {', '.join(parts)})"
