"""A chunk: the slice of a document that is shown and quoted, and the text under which it is indexed."""

from __future__ import annotations

from typing import NamedTuple


class Chunk(NamedTuple):
    """`start:end` is the slice of `Document.text`; `index_text` is what is embedded and counted: title, heading path,
    table header, then the slice. `heading` is the path, outermost first. `page` is that of the slice's first block.
    """

    start: int
    end: int
    index_text: str
    heading: tuple[str, ...] = ()
    page: int | None = None
    tokens: int = 0
    language: str = "en"
