"""`openbook export` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openbook.app.cli.options import LibraryOption, opened, progress_bar, settings


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory.")], library: LibraryOption = None
) -> None:
    """Write the documents as plain files: JSONL, and vectors in safetensors."""
    with opened(library) as desk, progress_bar(False) as progress:
        count = desk.export(directory, progress=progress)
    print(f"{count} documents in {directory}")


def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `export` wrote.")],
    library: LibraryOption = None,
) -> None:
    """Make a new library from exported files."""
    from openbook.core.paths import library_path
    from openbook.library.exchange import import_library

    target = library_path(library or settings().library)
    with progress_bar(False) as progress:
        count = import_library(target, directory, progress)
    print(f"{count} documents in {target}")
