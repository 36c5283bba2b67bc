"""The outline of a document: its blocks in order under the headings above them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from openbook.library.documents.model import Block, Document


class Section(NamedTuple):
    """`headings`: the blocks of headings that stand directly before `body`; all but the last may be those of other
    sections, which have no text of their own. A section without a body is a heading at the end of a document.
    `path`: the texts of the headings that hold for `body`, outermost first.
    """

    path: tuple[str, ...]
    headings: tuple[Block, ...]
    body: tuple[Block, ...]


class Heading(NamedTuple):
    start: int
    level: int
    text: str


class Outline:
    """Which headings hold at each place of a document; those from before a part have the start -1."""

    def __init__(self, document: Document) -> None:
        self._starts: list[int] = []
        self._trails: list[tuple[Heading, ...]] = []
        trail = self._opening = tuple(Heading(-1, level, text) for level, text in document.opening.headings)
        for block in document.blocks:
            if block.kind == "heading" and block.start < block.end:
                text = " ".join(document.text[block.start : block.end].split())
                above = next((n for n, one in enumerate(trail) if one.level >= block.level), len(trail))
                trail = (*trail[:above], Heading(block.start, block.level, text))
                self._starts.append(block.start)
                self._trails.append(trail)

    def before(self, position: int) -> tuple[Heading, ...]:
        """The headings, outermost first, that hold for the character before `position`."""
        place = bisect_left(self._starts, position)
        return self._trails[place - 1] if place else self._opening


def sections(document: Document, outline: Outline) -> Iterator[Section]:
    """The sections of a document in order; every block is in exactly one."""
    headings: list[Block] = []
    body: list[Block] = []
    for block in document.blocks:
        if block.start >= block.end:
            continue
        if block.kind == "heading" and body:
            yield _section(outline, headings, body)
            headings, body = [], []
        (headings if block.kind == "heading" else body).append(block)
    if headings or body:
        yield _section(outline, headings, body)


def _section(outline: Outline, headings: list[Block], body: list[Block]) -> Section:
    path = tuple(heading.text for heading in outline.before((body or headings)[-1].end))
    return Section(path, tuple(headings), tuple(body))
