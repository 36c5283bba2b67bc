"""`openbook eval retrieval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from openbook.app.cli.options import (
    JsonOption,
    LibraryOption,
    RerankDepthOption,
    RerankOption,
    opened,
    print_json,
    reranking,
    settings,
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _eval() -> None:
    """Measure the library on questions of your own."""


@app.command("retrieval")
def retrieval(
    queries: Annotated[
        Path, typer.Argument(metavar="QUERIES.jsonl", help='{"query", "relevant": {DOC: grade}} a line.')
    ],
    mode: Annotated[str | None, typer.Option("--mode", metavar="hybrid|dense|bm25", help="How to look.")] = None,
    library: LibraryOption = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    as_json: JsonOption = False,
) -> None:
    """nDCG@10, recall@1/5/10/100 and MRR@10 with bootstrap intervals; one hit a document."""
    from openbook.insight.evaluate.library import evaluate_retrieval
    from openbook.library.retrieve.reranker import Wanted

    chosen: Any = mode or settings().mode
    with opened(library) as desk:
        wanted = reranking(rerank, rerank_depth)
        report = evaluate_retrieval(desk, queries, chosen, Wanted(wanted["rerank"], wanted["rerank_depth"]))
    if as_json:
        print_json(report.to_json())
        return
    print(f"{report.queries} queries, mode {report.mode}")
    for name, (value, low, high) in report.metrics.items():
        print(f"  {name:12} {value:.4f}  [{low:.4f}, {high:.4f}]")
