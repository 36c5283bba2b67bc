"""What the tests of the readers share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from document_samples import check
from openbook.library.documents.model import Document
from openbook.library.documents.read import read_source
from openbook.library.documents.source import Source

Read = Callable[[str, bytes | str], Document]


@pytest.fixture
def read() -> Read:
    """Reads bytes (or text as UTF-8) under a file name, and checks what must hold for every document."""

    def read_bytes(name: str, content: bytes | str) -> Document:
        document = read_source(Source(name, content.encode() if isinstance(content, str) else content))
        check(document)
        return document

    return read_bytes
