"""`openbook check` and `reembed`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from openbook.app.cli.options import (
    ChunkTokensOption,
    JsonOption,
    LibraryOption,
    OverlapOption,
    ScorerOption,
    SplitterOption,
    opened,
    print_json,
    progress_bar,
    split_settings,
)


def check(
    library: LibraryOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify counts, hashes, full text and vectors against the documents."""
    with opened(library) as desk, progress_bar(as_json) as progress:
        problems = desk.check(progress=progress)
        done = desk.repair(problems, progress=progress) if repair and problems else []
        left = desk.check(progress=progress) if done else problems
    if as_json:
        print_json({"problems": [p._asdict() for p in problems], "repaired": done, "left": [p._asdict() for p in left]})
    else:
        for problem in problems:
            print(f"  ! {problem.what}")
        for text in done:
            print(f"  + {text}")
        if done:
            print(f"{len(problems)} problems, {len(left)} left")
        else:
            print(
                f"{len(problems)} problems: `openbook check --repair` mends what can be mended"
                if problems
                else "all is well"
            )
    if left:
        sys.exit(1)


def reembed(
    model: Annotated[str, typer.Argument(metavar="MODEL", help='DIR, URL, "default", or "none" for BM25 alone.')],
    library: LibraryOption = None,
    splitter: SplitterOption = None,
    scorer: ScorerOption = None,
    chunk_tokens: ChunkTokensOption = None,
    overlap_tokens: OverlapOption = None,
) -> None:
    """Make a new generation beside the old one; it answers when it is complete."""
    given = (splitter, chunk_tokens, overlap_tokens, scorer)
    with opened(library) as desk, progress_bar(False) as progress:
        split = None
        if any(value is not None for value in given):
            split = split_settings(*given, known=desk.store.generation().splitter)
        desk.reembed(model, split=split, progress=progress)
        generation = desk.store.generation()
    print(
        f"generation {generation.id} answers now: embedder {generation.embedder or 'none'}, splitter {generation.splitter}"
    )
