"""One call from a file to a `Document`: `read_document`. Readers are imported when the first file needs them."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbook.core.errors import OpenbookError, UnreadableFile
from openbook.library.documents.model import Document
from openbook.library.documents.portion import Portion, load_portion
from openbook.library.documents.sniff import kind_of
from openbook.library.documents.source import MAX_FILE_BYTES, Source, load

_READERS = {
    "markdown": "readers.markdown",
    "text": "readers.plain",
    "code": "readers.code",
    "html": "readers.html",
    "mhtml": "readers.mail",
    "pdf": "pdf.read",
    "docx": "readers.docx",
    "xlsx": "readers.xlsx",
    "pptx": "readers.pptx",
    "csv": "readers.table",
    "json": "readers.json",
    "jsonl": "readers.json",
    "epub": "readers.epub",
    "ipynb": "readers.notebook",
    "eml": "readers.mail",
    "msg": "readers.outlook",
    "xml": "readers.xml",
    "image": "readers.image",
}
"""Reader name -> module of this package with `read(source: Source) -> Document`."""


def read_document(path: Path, *, max_file_bytes: int = MAX_FILE_BYTES, ocr: bool | None = None) -> Document:
    """The document that the file holds: text, blocks, anchors and a receipt of what was and was not read.

    `ocr`: None reads pictures of text when the extra is installed, True insists on it, False leaves them out.
    Raises UnreadableFile (name, cause, remedy); ModelUnavailable when `ocr` is True and the extra is missing.
    Reads local bytes only: nothing that a document refers to is fetched.
    """
    from openbook.library.documents.ocr import find_ocr

    return read_source(load(path, max_file_bytes, find_ocr(ocr)))


def read_source(source: Source) -> Document:
    """`read_document` for bytes that are in memory already, such as an attachment."""
    return _read(source, kind_of(source))


def read_portion(path: Path, portion: Portion, *, ocr: bool | None = None) -> Document:
    """The part of a large file that `scan` cut. Raises `UnreadableFile` as `read_document` does."""
    from openbook.library.documents.ocr import find_ocr

    document = _read(load_portion(path, portion, find_ocr(ocr)), portion.kind)
    return replace(document, opening=portion.opened(document), title=portion.title or document.title)


def _read(source: Source, kind: str) -> Document:
    reader: Callable[[Source], Document] = importlib.import_module(f"openbook.library.documents.{_READERS[kind]}").read
    try:
        return reader(source)
    except (OpenbookError, MemoryError):
        raise
    except RecursionError:
        raise source.unreadable("it is nested too deeply", "flatten it, or exclude it") from None
    except zipfile.BadZipFile as error:
        raise source.unreadable(f"it is damaged ({error})", "get a complete copy") from error
    except Exception as error:
        # Parsers of foreign formats fail in their own ways; a broken file must fail alone and by name.
        cause = f"it is damaged or not a valid {kind} file ({type(error).__name__}: {str(error)[:200]})"
        raise source.unreadable(cause, "open it in its own program and save it again, or exclude it") from error


def read_plain(path: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`read_document` for worker processes: strings and plain values in, `Document.to_plain()` out."""
    return read_document(
        Path(path), max_file_bytes=settings.get("max_file_bytes", MAX_FILE_BYTES), ocr=settings.get("ocr")
    ).to_plain()


__all__ = ["UnreadableFile", "read_document", "read_plain", "read_portion", "read_source"]
