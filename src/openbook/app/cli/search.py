"""`openbook search`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from openbook.app.cli.options import (
    CollectionOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    RerankDepthOption,
    RerankOption,
    opened,
    print_json,
    reranking,
    settings,
    shown_path,
    visible,
    warn,
)

_SHOWN_CHARACTERS = 320


def search(
    query: Annotated[str, typer.Argument(help='Words; also "a phrase", prefix* and -without.')],
    k: Annotated[int, typer.Option("-k", metavar="N", help="How many passages.")] = 10,
    mode: Annotated[str | None, typer.Option("--mode", metavar="hybrid|dense|bm25", help="How to look.")] = None,
    filter_: FilterOption = None,
    collection: CollectionOption = None,
    library: LibraryOption = None,
    rerank: RerankOption = None,
    rerank_depth: RerankDepthOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find passages."""
    chosen: Any = mode or settings().mode
    with opened(library) as desk:
        result = desk.search_result(
            query,
            k,
            mode=chosen,
            filters=filter_ or (),
            collections=[collection] if collection else None,
            **reranking(rerank, rerank_depth),
        )
    if as_json:
        print_json(result.to_json())
        return
    for hit in result.hits:
        place = ", ".join(
            [*([f"page {hit.page}"] if hit.page else []), *([visible(" > ".join(hit.heading))] if hit.heading else [])]
        )
        scores = " ".join(f"{name} {value:.2f}" for name, value in hit.scores.items() if value is not None)
        stale = "  (the file has changed since)" if hit.stale else ""
        print(f"{hit.rank}. {shown_path(hit.path)}" + (f" ({place})" if place else "") + f"  [{scores}]{stale}")
        text = visible(" ".join(hit.text.split()))
        print("   " + text[:_SHOWN_CHARACTERS] + (" ..." if len(text) > _SHOWN_CHARACTERS else ""))
        if hit.also_in:
            print("   also in " + ", ".join(shown_path(path) for path in hit.also_in))
    if not result.hits:
        print("nothing was found")
    for warning in result.warnings:
        warn(warning)
