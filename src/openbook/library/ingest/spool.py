"""Parts that wait on disk until the whole document has been read, in an unnamed file that vanishes with the process."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgpack

from openbook.core.errors import OpenbookError
from openbook.library.catalogue.rows import IndexedChunk, ReadPart

_LENGTH = struct.Struct("<Q")


class Spool:
    """Takes parts and gives them back in order, as often as it is asked; holds one at a time in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  (closed by `close`)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, part: ReadPart) -> None:
        """Raises `OpenbookError` when there is no space for it."""
        body: bytes = msgpack.packb(part)
        try:
            self._file.seek(0, 2)
            self._file.write(_LENGTH.pack(len(body)))
            self._file.write(body)
            self._file.flush()
        except OSError as error:
            raise OpenbookError(
                f"a large document cannot be kept in {self._directory} while it is read: {error.strerror}",
                "free some space and run it again; nothing is lost",
            ) from error

    def __iter__(self) -> Iterator[ReadPart]:
        self._file.seek(0)
        while prefix := self._file.read(_LENGTH.size):
            part = ReadPart(*msgpack.unpackb(self._file.read(_LENGTH.unpack(prefix)[0])))
            anchors = [(start, end, run) for start, end, run in part.anchors]
            yield part._replace(anchors=anchors, chunks=[IndexedChunk(*chunk) for chunk in part.chunks])

    def close(self) -> None:
        self._file.close()
