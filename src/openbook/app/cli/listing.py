"""`openbook ls`, `show` and `rm`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated

import typer

from openbook.app.cli.options import (
    CollectionOption,
    FilterOption,
    JsonOption,
    LibraryOption,
    opened,
    print_failures,
    print_json,
    shown_path,
)


def ls(
    library: LibraryOption = None,
    collection: CollectionOption = None,
    filter_: FilterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the documents."""
    from openbook.assistant.desk import scope_of
    from openbook.library.catalogue import reads

    scope = scope_of(filter_ or (), [collection] if collection else None)
    with opened(library) as desk, desk.store.catalogue.read() as connection:
        rows = list(reads.documents(connection, scope))
        failed = (
            []
            if filter_
            else [row for row in reads.failures(connection, scope) if collection in (None, row.collection)]
        )
    if as_json:
        documents = [
            row._asdict() | {"id": f"d{row.id}", "paths": list(row.paths), "receipt": json.loads(row.receipt)}
            for row in rows
        ]
        print_json({"documents": documents, "failures": [{"path": one.path, "reason": one.failure} for one in failed]})
        return
    for row in rows:
        others = f" (+{len(row.paths) - 1})" if len(row.paths) > 1 else ""
        path = shown_path(row.paths[0]) if row.paths else "?"
        print(f"d{row.id:<6} {row.kind:9} {row.language:3} v{row.version} {path}{others}  {row.title[:60]}")
    print_failures([(one.path, one.failure or "") for one in failed])
    print(f"{len(rows)} documents" + (f", {len(failed)} files could not be read" if failed else ""))


def show(
    name: Annotated[str, typer.Argument(metavar="DOC", help="Id, path, or the end of a path.")],
    library: LibraryOption = None,
    text: Annotated[bool, typer.Option("--text", help="The text that offsets count in, and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a document's receipt, or its text."""
    with opened(library) as desk:
        row = desk.document(name)
        if text:
            sys.stdout.buffer.write(desk.text(f"d{row.id}").encode("utf-8"))
            return
    receipt = json.loads(row.receipt)
    if as_json:
        print_json(row._asdict() | {"id": f"d{row.id}", "paths": list(row.paths), "receipt": receipt})
        return
    print(f"d{row.id}  {row.title or '(no title)'}")
    for path in row.paths:
        print(f"  path        {shown_path(path)}")
    print(f"  collection  {row.collection}")
    print(f"  kind        {row.kind}, {row.language}, version {row.version}, {row.size_bytes:,} bytes")
    print(f"  modified    {datetime.fromtimestamp(row.modified):%Y-%m-%d %H:%M}")
    print(f"  sha256      {row.sha256}")
    for key, value in receipt.items():
        if value not in (None, [], {}, 0, ""):
            print(f"  {key:11} {_plain(value)}")


def rm(
    names: Annotated[list[str], typer.Argument(metavar="DOC...", help="Ids, paths or folders.")],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take documents out of the library. The files stay."""
    with opened(library) as desk:
        removed = desk.remove(*names)
    if as_json:
        print_json({"removed": removed})
        return
    for path in removed:
        print(f"  - {shown_path(path)}")
    print(f"{len(removed)} removed")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return str(value)
