"""The outline of a document: its blocks in order, each with the headings above it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from openbook.library.documents.model import Block, Document


class Section(NamedTuple):
    """`headings`: the blocks of headings that stand directly before `body` and belong to it; `path`: their texts and
    those above, outermost first. A section without a body is a heading at the end of a document.
    """

    path: tuple[str, ...]
    headings: tuple[Block, ...]
    body: tuple[Block, ...]


def sections(document: Document) -> Iterator[Section]:
    """The sections of a document in order; every block is in exactly one."""
    open_headings: list[tuple[int, str]] = []
    headings: list[Block] = []
    body: list[Block] = []
    for block in document.blocks:
        if block.start >= block.end:
            continue
        if block.kind != "heading":
            body.append(block)
            continue
        if body:
            yield Section(_path(open_headings), tuple(headings), tuple(body))
            headings, body = [], []
        while open_headings and open_headings[-1][0] >= block.level:
            open_headings.pop()
        open_headings.append((block.level, " ".join(document.text[block.start : block.end].split())))
        headings.append(block)
    if headings or body:
        yield Section(_path(open_headings), tuple(headings), tuple(body))


def _path(open_headings: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(text for _, text in open_headings)
