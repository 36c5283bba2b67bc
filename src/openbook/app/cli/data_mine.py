"""`openbook data mine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openbook.app.cli.options import JsonOption, LibraryOption, opened, print_json, progress_bar, warn

if TYPE_CHECKING:
    from openbook.improve.mine import MineReport, MineSettings


def mine(
    queries: Annotated[
        Path,
        typer.Argument(
            metavar="QUERIES.jsonl|SQUAD.json",
            help='Lines {"query", "positive", "answers"?, "title"?}; or questions on paragraphs, as SQuAD has them (also .gz).',
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the rows go.")] = Path("mined.jsonl"),
    per_query: Annotated[int, typer.Option("--per-query", metavar="N", help="At most so many negatives.")] = 8,
    skip_top: Annotated[int, typer.Option("--skip-top", metavar="K", help="Leave out the first K hits.")] = 0,
    margin: Annotated[
        float | None, typer.Option("--margin", metavar="M", help="Only hits that score so far below the positive.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", metavar="N", help="So many hits are looked at.")] = 50,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", metavar="hybrid|dense|bm25", help="How to look; may be repeated.")
    ] = None,
    most: Annotated[
        int | None, typer.Option("--queries", metavar="N", help="Of SQuAD: at most so many, from all documents alike.")
    ] = None,
    held_out: Annotated[
        int, typer.Option("--held-out", metavar="N", help="Of SQuAD: none of the last N documents' questions.")
    ] = 0,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find passages that look like answers and are none, for the embedder and reranker recipes.

    From a file as SQuAD has it, the library of its paragraphs is made first, in --library. Hits of the positive's own passage,
    and those that hold an answer, are left out and counted.
    """
    from openbook.improve.mine import MineSettings, read_queries, write_mined
    from openbook.improve.mine_squad import is_squad

    settings = MineSettings(per_query, skip_top, margin, depth, tuple(mode or ("hybrid",)))  # type: ignore[arg-type]
    if is_squad(queries):
        report = _mine_squad(queries, out, settings, most, held_out, library, as_json)
    else:
        rows = read_queries(queries)
        with opened(library) as desk, progress_bar(as_json) as progress:
            report = write_mined(desk, rows, out, settings, progress)
    if as_json:
        print_json(report.to_json() | {"out": str(out)})
        return
    _say(report, out)


def _mine_squad(
    path: Path, out: Path, settings: MineSettings, most: int | None, held_out: int, library: str | None, quiet: bool
) -> MineReport:
    from openbook.core.errors import UsageError
    from openbook.core.paths import library_path
    from openbook.improve.mine import write_mined
    from openbook.improve.mine_squad import build_library, read_squad, thinned, without_last

    if library is None:
        raise UsageError("the library of the paragraphs has no place", "name a new one: --library DIR")
    found = read_squad(path)
    if found.unanswerable and not quiet:
        warn(f"{found.unanswerable} questions have no answer in their paragraph and are left out")
    chosen = thinned(without_last(found.queries, held_out), most)
    with progress_bar(quiet) as progress:
        desk = build_library(found.passages, library_path(library), progress)
        try:
            return write_mined(desk, chosen, out, settings, progress)
        finally:
            desk.close()


def _say(report: MineReport, out: Path) -> None:
    print(f"{report.queries - report.bare} queries with {report.negatives} negatives: {out}")
    for why, count in sorted(report.left_out.items()):
        print(f"  . {count} hits left out: {why}")
    if report.bare:
        print(f"  x {report.bare} queries have no negative, and are not in the file")
    if report.lost:
        warn(
            f"the positives of {report.lost} queries are not among their hits: neither is their score, which a margin needs"
        )
