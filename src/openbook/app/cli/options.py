"""Options that several commands share, and how a command opens its library."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openbook.core.finite import finite

if TYPE_CHECKING:
    from openbook.assistant.desk import Library
    from openbook.core.config import Settings
    from openbook.core.progress import Progress
    from openbook.library.split.settings import SplitSettings

LibraryOption = Annotated[
    str | None,
    typer.Option("--library", "-L", metavar="NAME|PATH", help="The library; a bare name lives under $OPENBOOK_HOME."),
]
CollectionOption = Annotated[str | None, typer.Option("--collection", metavar="NAME", help="Only this collection.")]
FilterOption = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="FIELD=VALUE", help="path, title, language, kind (globs) or modified>=DATE."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SplitterOption = Annotated[
    str | None, typer.Option("--splitter", metavar="NAME", help="recursive (default), discourse or semantic.")
]
ScorerOption = Annotated[
    str | None,
    typer.Option("--scorer", metavar="NAME", help="Of the semantic splitter: similarity or next-sentence."),
]
ChunkTokensOption = Annotated[
    int | None, typer.Option("--chunk-tokens", metavar="N", help="The most tokens of a chunk (default 192).")
]
OverlapOption = Annotated[
    int | None,
    typer.Option("--overlap-tokens", metavar="N", help="Tokens repeated where one block is cut (default 0)."),
]
EmbedderOption = Annotated[
    str | None,
    typer.Option("--embedder", metavar="DIR|URL", help='A sentence-transformers directory, an endpoint, or "none".'),
]
RerankOption = Annotated[
    bool | None,
    typer.Option(
        "--rerank/--no-rerank",
        help="Whether a cross-encoder reads the first passages beside the question; without it, where that was measured to win.",
    ),
]
RerankDepthOption = Annotated[
    int | None, typer.Option("--rerank-depth", metavar="N", help="How many passages it reads (default 20).")
]
_NAMED = 3


def settings() -> Settings:
    from openbook.core.config import load_settings

    return load_settings()


def reranking(rerank: bool | None, depth: int | None) -> dict[str, Any]:
    """What `Library.search_result` and `ask` take, from flags and settings. A depth alone asks for reranking."""
    chosen = settings()
    if rerank is None:
        rerank = chosen.rerank if depth is None else True
    return {"rerank": rerank, "rerank_depth": chosen.rerank_depth if depth is None else depth}


@contextmanager
def opened(library: str | None, *, create: bool = False, **options: Any) -> Iterator[Library]:
    """The library of a command, closed at its end."""
    from openbook.assistant.desk import Library

    chosen = settings()
    with Library.open(library or chosen.library, create=create, precision=chosen.precision, **options) as one:
        yield one


def split_settings(
    splitter: str | None,
    chunk_tokens: int | None,
    overlap_tokens: int | None,
    scorer: str | None = None,
    *,
    known: str = "{}",
) -> SplitSettings:
    """The settings of a new library, or `known` ones (JSON) with what is given; raises `UsageError` that names the option and
    what is allowed.
    """
    from openbook.core.config import validated
    from openbook.library.split.settings import SplitSettings

    before = json.loads(known)
    if splitter is not None and splitter != before.get("splitter"):
        before = {name: value for name, value in before.items() if name not in ("threshold", "scorer")}
    given = {"splitter": splitter, "chunk_tokens": chunk_tokens, "overlap_tokens": overlap_tokens, "scorer": scorer}
    stated = before | {name: value for name, value in given.items() if value is not None}
    return validated(SplitSettings, stated, "option")


def print_json(value: Any) -> None:
    """A number that is NaN or infinite is null: JSON has no other word for it."""
    print(json.dumps(finite(value), ensure_ascii=False, indent=2, allow_nan=False))


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def visible(text: str) -> str:
    """`text` with control characters made visible, so that a document cannot steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def warn(text: str) -> None:
    is_chinese = any("\u4e00" <= character <= "\u9fff" for character in text[:12])
    print(f"注意：{text}" if is_chinese else f"note: {text}", file=sys.stderr)


def shown_path(path: str) -> str:
    """A path as it is shortest to read: relative to the working directory when it lies below."""
    folder = os.getcwd() + os.sep  # noqa: PTH109
    return visible(path.removeprefix(folder))


def print_failures(failures: Sequence[tuple[str, str]]) -> None:
    """The files that could not be read, together by reason, each reason with its first three."""
    groups: dict[str, list[str]] = {}
    for path, reason in failures:
        groups.setdefault(reason.removeprefix(f"{Path(path).name} cannot be read: "), []).append(shown_path(path))
    for reason, paths in groups.items():
        rest = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        print(f"  x {', '.join(paths[:_NAMED])}{rest}: {reason}")


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """A bar on standard error while the block runs, now and then a line where nobody watches; nothing when `quiet`."""
    from openbook.core.progress import Lines, silent

    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield Lines(lambda line: print(visible(line), file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, what="")

        def show(stage: str, done: int, total: int | None, what: str) -> None:
            bar.update(task, description=stage, completed=done, total=total, what=Path(what).name)

        yield show
