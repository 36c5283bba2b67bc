"""How the small files of a checkpoint come to disk: whole or not at all, also after a power cut; free of torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openbook.core.errors import ModelUnavailable
from openbook.core.paths import replacing, sync


def make_directory(directory: Path) -> None:
    """The directory, with its parents; its name is on the disk before anything is in it. ModelUnavailable if it cannot be."""
    with told(directory):
        if not directory.is_dir():
            directory.mkdir(parents=True)
            sync(directory.parent)


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Raises ModelUnavailable when it cannot be written."""
    with told(path), replacing(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def copy_file(source: Path, path: Path) -> None:
    """Raises ModelUnavailable when it cannot be read or written."""
    with told(path), source.open("rb") as data, replacing(path) as file:
        shutil.copyfileobj(data, file)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """An error of the disk while the block runs is ModelUnavailable, which names `path`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise ModelUnavailable(
            f"{path} could not be written: {why}", "make room there, or name another place"
        ) from None
