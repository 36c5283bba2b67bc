"""Plain text: paragraphs between blank lines; a file without blank lines is one paragraph a line."""

from __future__ import annotations

import re

from openbook.library.documents.build import Builder
from openbook.library.documents.encoding import decode
from openbook.library.documents.model import Document
from openbook.library.documents.source import Source

_PARAGRAPH = re.compile(r"\n[ \t\u3000]*\n\s*")
MAX_PARAGRAPH = 20_000


def read(source: Source) -> Document:
    builder = Builder("text")
    add_text(builder, decoded_text(source, builder))
    return builder.document(source.stem)


def decoded_text(source: Source, builder: Builder) -> str:
    """The text of the file; its encoding and invalid bytes go into the receipt."""
    decoded = decode(source.data)
    builder.encoding = decoded.encoding
    if decoded.invalid:
        places = "place" if decoded.invalid == 1 else "places"
        builder.note(f"bytes that are not valid {decoded.encoding} at {decoded.invalid} {places}, read as U+FFFD")
    return decoded.text


def add_text(builder: Builder, text: str, part: str | None = None) -> None:
    paragraphs = _PARAGRAPH.split(text)
    for paragraph in paragraphs:
        # One line a paragraph is how Chinese novels, logs and subtitles come: keep a long run in pieces.
        if len(paragraph) <= MAX_PARAGRAPH:
            builder.add("paragraph", paragraph, part=part)
            continue
        for line in paragraph.split("\n"):
            builder.add("paragraph", line, part=part)
