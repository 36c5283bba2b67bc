"""Hypothesis strategies for documents, and what every splitter has to keep of them."""

from __future__ import annotations

from hypothesis import strategies as st

from openbook.library.documents.model import Block, BlockKind, Document
from openbook.library.split.chunk import Chunk

WORDS = (
    "ferry battery pier However, therefore it this the captain 12 3.5 kWh e.g. U.S. Dr. https://example.org/a_b?c=d "
    "snake_case () {} [12] “quoted” — naïve 电池 渡轮。 但是， 该船 第三条 （一） 年假！ 日本語 \u200b \ufeff x\u0301"
).split()
GAPS = (" ", " ", " ", "", "\n", "\t", "\u3000", ". ", "。", "；", "? ", ", ")
KINDS: tuple[BlockKind, ...] = ("heading", "paragraph", "paragraph", "paragraph", "list", "table", "code", "figure")


@st.composite
def texts(draw: st.DrawFn, most: int = 60) -> str:
    """A line or more of words in both languages, with marks and odd white space between; never blank."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=most))
    gaps = draw(st.lists(st.sampled_from(GAPS), min_size=len(words), max_size=len(words)))
    return "".join(word + gap for word, gap in zip(words, gaps, strict=True)).strip() or "x"


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, int]:
    """Rows of cells, and the length of the header."""
    columns = draw(st.integers(1, 4))
    cell = st.sampled_from(("Name", "12", "4.5 %", "电池", "a longer cell", "价格"))
    rows = draw(st.lists(st.lists(cell, min_size=columns, max_size=columns), min_size=2, max_size=12))
    lines = [" | ".join(row) for row in rows]
    return "\n".join(lines), draw(st.sampled_from((0, len(lines[0]))))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Up to twelve blocks of all kinds, line breaks between them."""
    text, blocks = "", []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=12)):
        body, header = draw(tables()) if kind == "table" else (draw(texts(8 if kind == "heading" else 60)), 0)
        start = len(text)
        level = draw(st.integers(1, 4)) if kind == "heading" else 0
        blocks.append(Block(kind, start, start + len(body), draw(st.sampled_from((None, 1, 2))), level, start + header))
        text += body + draw(st.sampled_from(("\n", "\n\n")))
    return Document(text=text, blocks=tuple(blocks), title=draw(st.sampled_from(("", "Handbook", "手册"))))


def plain(text: str, title: str = "") -> Document:
    """A document with a paragraph for every run of lines between blank ones; "# " makes a heading of level 1, and so on."""
    blocks: list[Block] = []
    position = 0
    for part in text.split("\n\n"):
        level = len(part) - len(part.lstrip("#"))
        kind: BlockKind = "heading" if level else "list" if part.startswith("- ") else "paragraph"
        blocks.append(Block(kind, position, position + len(part), None, level))
        position += len(part) + 2
    return Document(text=text, blocks=tuple(blocks), title=title)


def uncovered(document: Document, chunks: list[Chunk]) -> str:
    """The characters but white space that lie in no chunk."""
    inside = bytearray(len(document.text))
    for chunk in chunks:
        inside[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    return "".join(c for c, seen in zip(document.text, inside, strict=True) if not seen and not c.isspace())


def headings_above(document: Document, start: int) -> tuple[str, ...]:
    """The headings that hold at `start`, outermost first, found the slow way: a heading ends those of its level and below."""
    found: list[tuple[int, str]] = []
    for block in document.blocks:
        if block.start > start:
            break
        if block.kind == "heading":
            found = [one for one in found if one[0] < block.level]
            found.append((block.level, " ".join(document.text[block.start : block.end].split())))
    return tuple(text for _, text in found)
