"""Plain text: paragraphs between blank lines; a file without blank lines is one paragraph a line."""

from __future__ import annotations

import re

from openbook.library.documents.build import Builder
from openbook.library.documents.encoding import Decoded, decode
from openbook.library.documents.model import Document
from openbook.library.documents.source import Source

_PARAGRAPH = re.compile(r"\n[ \t\u3000]*\n\s*")
MAX_PARAGRAPH = 20_000


def read(source: Source) -> Document:
    builder = Builder("text")
    text = decoded_text(source, builder)
    portion = source.portion
    if portion is None:
        add_text(builder, text)
    else:
        add_text(builder, text.lstrip(), begins_inside=portion.begins_inside, ends_inside=portion.ends_inside)
    return builder.document(source.stem)


def decoded_text(source: Source, builder: Builder) -> str:
    """The text of the file; its encoding, whether that is a guess, and invalid bytes go into the receipt."""
    if source.portion is None:
        decoded = decode(source.data)
    else:
        portion = source.portion
        decoded = decode_as(source.data, portion.codec)._replace(encoding=portion.encoding, uncertain=portion.uncertain)
    builder.encoding = decoded.encoding
    if decoded.uncertain:
        builder.note(decoded.uncertain)
    if decoded.invalid:
        places = "place" if decoded.invalid == 1 else "places"
        builder.note(f"bytes that are not valid {decoded.encoding} at {decoded.invalid} {places}, read as U+FFFD")
    return decoded.text


def decode_as(data: bytes, codec: str) -> Decoded:
    """`decode` where the encoding is known."""
    text = data.decode(codec, "replace")
    invalid = 0
    if "\ufffd" in text:  # of which some may stand in the file
        invalid = text.count("\ufffd") - data.count("\ufffd".encode(codec, "ignore") or b"\x00\x00\x00\x00\x00")
    return Decoded(text.replace("\r\n", "\n").replace("\r", "\n"), codec, invalid)


def add_text(
    builder: Builder, text: str, part: str | None = None, *, begins_inside: bool = False, ends_inside: bool = False
) -> None:
    """A block a paragraph; where it is long a block a line, also where only the beginning or the end of it is in `text`."""
    paragraphs = _PARAGRAPH.split(text)
    for number, paragraph in enumerate(paragraphs):
        is_cut = (begins_inside and number == 0) or (ends_inside and number == len(paragraphs) - 1)
        # One line a paragraph is how Chinese novels, logs and subtitles come: keep a long run in pieces.
        if len(paragraph) <= MAX_PARAGRAPH and not is_cut:
            builder.add("paragraph", paragraph, part=part)
            continue
        for line in paragraph.split("\n"):
            builder.add("paragraph", line, part=part)
