"""What a reader is given: a name, the bytes of a file, and whether pictures may be read by OCR."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from openbook.core.errors import UnreadableFile

if TYPE_CHECKING:
    from openbook.library.documents.ocr import Ocr
    from openbook.library.documents.portion import Portion

MAX_FILE_BYTES = 100_000_000
PART_BYTES = 4_000_000
"""About the size of a part of a large file: a few thousand chunks. Files of up to two parts are read whole."""
MAX_WHOLE_BYTES = 100_000_000
"""The most that is read into memory at once, for formats that can be read neither in parts nor member by member, however
`max_file_bytes` is set."""

HEAD_BYTES = 4096
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Source:
    """`name` is the file's own name (an attachment has no path); `depth` counts how far a mail is inside another.

    `portion`: `data` is that part of a large file. `path`: the file, which the reader opens itself (PDF, zip containers), and
    of which `data` is nothing or the beginning.
    """

    name: str
    data: bytes
    ocr: Ocr | None = None
    depth: int = 0
    max_bytes: int = MAX_FILE_BYTES
    path: Path | None = None
    portion: Portion | None = None

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix.lower()

    @property
    def stem(self) -> str:
        return PurePath(self.name).stem

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path is not None else len(self.data)

    @property
    def file(self) -> Path | io.BytesIO:
        """The whole file, for a parser that reads it here and there."""
        return self.path or io.BytesIO(self.data)

    def unreadable(self, cause: str, remedy: str) -> UnreadableFile:
        return UnreadableFile(f"{self.name} cannot be read: {cause}", remedy)

    def inside(self, name: str, data: bytes) -> Source:
        """A file that this one carries (an attachment)."""
        return Source(name, data, self.ocr, self.depth + 1, self.max_bytes)


def load(path: Path, max_bytes: int, ocr: Ocr | None = None) -> Source:
    """The file's bytes, read once; of a zip container the beginning, its members are taken from the file one by one.

    Raises UnreadableFile for what is missing, no regular file, not permitted, larger than `max_bytes`, or was
    changed while it was read.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UnreadableFile(f"{path} does not exist", "check the path, or sync to forget a deleted file") from None
    except PermissionError:
        raise UnreadableFile(f"{path} may not be read by this user", "change its permissions (chmod u+r)") from None
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened: {error.strerror}", "check that it is a regular file") from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            kind = "a folder" if stat.S_ISDIR(before.st_mode) else "a device, pipe or socket"
            raise UnreadableFile(f"{path} is {kind}, not a file", "name a regular file")
        if before.st_size > max_bytes:
            raise UnreadableFile(
                f"{path} has {before.st_size:,} bytes, the limit is {max_bytes:,}",
                "split it, or raise max_file_bytes",
            )
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(HEAD_BYTES)
            if data.startswith(ZIP_MAGIC):
                return Source(path.name, data, ocr, max_bytes=max_bytes, path=path)
            data += file.read(max_bytes + 1 - len(data))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise UnreadableFile(f"{path} was changed while it was read", "add it again when nothing writes to it")
    return Source(path.name, data, ocr, max_bytes=max_bytes)
