"""A part of a large file: which bytes or pages it is, how it was cut, and what its reader must know of what came before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openbook.core.errors import UnreadableFile
from openbook.library.documents.model import SEPARATOR, Document, Opening
from openbook.library.documents.ocr import Ocr
from openbook.library.documents.source import Source


@dataclass(frozen=True)
class Portion:
    """`start:end` are bytes of the file, or pages (from 0) when `is_pages`; `digest` is the SHA-256 of those bytes.

    `codec` decodes them, `encoding` is its name in the receipt, `uncertain` what that says of a guess. `glue`,
    `continues`, `headings` and `header` become the `Opening` of the document. `begins_inside`, `ends_inside`: a paragraph
    of text was cut there. `line`: lines or rows before it. `delimiter`, `has_header`: of a table; `header` is its text, in
    the parts after the first. `fence`: the mark of the code block that it begins in. `title`: of the whole document, ""
    where the reader gives every part the same.
    """

    kind: str
    start: int
    end: int
    digest: str = ""
    codec: str = "utf-8"
    encoding: str = "utf-8"
    uncertain: str = ""
    number: int = 0
    glue: str = SEPARATOR
    continues: bool = False
    begins_inside: bool = False
    ends_inside: bool = False
    line: int = 0
    delimiter: str = ","
    has_header: bool = False
    header: str = ""
    fence: str = ""
    headings: tuple[tuple[int, str], ...] = ()
    title: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_pages(self) -> bool:
        return self.kind == "pdf"

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Portion:
        headings = tuple((level, text) for level, text in plain["headings"])
        return cls(**{**plain, "headings": headings, "notes": tuple(plain["notes"])})

    def opened(self, document: Document) -> Opening:
        """What holds at the beginning of the document that was read from this portion."""
        return Opening(
            document.opening.glue if self.kind == "csv" else self.glue, self.continues, self.headings, self.header
        )


def load_portion(path: Path, portion: Portion, ocr: Ocr | None = None) -> Source:
    """The bytes of a portion; of a PDF nothing, its reader opens the file by its path.

    Raises `UnreadableFile` when the bytes are not those that the portion was cut from.
    """
    if portion.is_pages:
        return Source(path.name, b"", ocr, path=path, portion=portion)
    try:
        with path.open("rb") as file:
            file.seek(portion.start)
            data = file.read(portion.end - portion.start)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened: {error.strerror}", "check that it is a regular file") from None
    if hashlib.sha256(data).hexdigest() != portion.digest:
        raise UnreadableFile(f"{path} was changed while it was read", "add it again when nothing writes to it")
    return Source(path.name, data, ocr, portion=portion)
