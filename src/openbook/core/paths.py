"""Where Openbook keeps its things, and how a file is written so that a crash leaves the old one or the new one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from openbook.core.errors import UsageError

_LIBRARY_NAME = re.compile(r"[\w][\w.-]*")


def home() -> Path:
    """`$OPENBOOK_HOME`, else `~/.openbook`; not created."""
    return Path(os.environ.get("OPENBOOK_HOME") or Path.home() / ".openbook").expanduser()


def library_path(name_or_path: str | Path | None) -> Path:
    """The directory of a library: a bare name lives under `home()`, anything with a separator is a path."""
    if name_or_path is None:
        return home() / "default"
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or os.sep in text or text.startswith((".", "~")):
        return Path(text).expanduser().absolute()
    if not _LIBRARY_NAME.fullmatch(text):
        raise UsageError(f"library name {text!r} is not usable", "use letters, digits, '.', '_' or '-', or give a path")
    return home() / text


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` only when the block ends well: written beside, synced, renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def settle(temporary: Path, path: Path) -> None:
    """Gives a file that was written beside its place its name, so that after a power cut it is the old one or whole."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """What was written to a file, or the names in a directory, is on the disk when this returns."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
