"""Where the parts of a document are kept until the last of them is there: in memory when there is only one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from openbook.library.catalogue.rows import ReadPart
from openbook.library.ingest.spool import Spool


class Shelf:
    """Holds the parts of one document at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spool: Spool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def put(self, number: int, of: int, part: ReadPart | None) -> Iterable[ReadPart] | None:
        """All parts, when this is the last of `of`; they can be read until the next call. None stands for an empty part.

        Number 0 begins the next document, whether or not the one before was finished.
        """
        if number == 0:
            self._clear()
        if of == 1:
            return [part] if part is not None else []
        if self._spool is None:
            self._spool = Spool(self._directory)
        if part is not None:
            self._spool.add(part)
        return self._spool if number == of - 1 else None

    def _clear(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None
