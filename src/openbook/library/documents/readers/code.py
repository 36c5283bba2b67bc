"""Source code: one block a top-level definition, with the comments above it; the language goes into the metadata."""

from __future__ import annotations

import re

from openbook.library.documents.build import Builder
from openbook.library.documents.model import Document
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.source import Source

_DEFINITION = re.compile(
    r"(?:@\w|(?:export |default |public |private |protected |internal |static |abstract |final |async |"
    r"pub(?:\([^)]*\))? |unsafe |extern |inline |const |open |sealed |data |override )*"
    r"(?:def|class|func|function|fn|impl|trait|struct|enum|union|interface|type|module|namespace|object|record|protocol"
    r"|extension|macro_rules!|defmodule|defp?|sub|proc|package|template|typedef|CREATE|create)\b"
    r"|(?:[A-Za-z_][\w:<>,*&\s\[\]]*\s+)?[A-Za-z_]\w*\s*\([^;]*\)\s*(?:const\s*)?\{"
    r"|(?:export )?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function|\()|\[[\w.\"-]+\]\s*$)"
)
_COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--|;|@|\"\"\")")
_SMALL = 400


def read(source: Source) -> Document:
    builder = Builder("code")
    builder.metadata["language"] = source.suffix.lstrip(".")
    add_code(builder, decoded_text(source, builder))
    return builder.document(source.name)


def add_code(builder: Builder, text: str) -> None:
    """Blocks of whole definitions; neighbours are put together while they are small."""
    pieces: list[str] = []
    for piece in _pieces(text.split("\n")):
        if pieces and len(pieces[-1]) + len(piece) < _SMALL:
            pieces[-1] += "\n" + piece
        else:
            pieces.append(piece)
    for piece in pieces:
        builder.add("code", piece)


def _pieces(lines: list[str]) -> list[str]:
    starts = [0]
    for number, line in enumerate(lines):
        if line[:1] in (" ", "\t", "") or _DEFINITION.match(line[:300]) is None:
            continue
        start = number
        while start > starts[-1] and lines[start - 1][:1] not in ("", " ", "\t") and _COMMENT.match(lines[start - 1]):
            start -= 1
        if start > starts[-1]:
            starts.append(start)
    return ["\n".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
