"""How readers put a `Document` together: blocks end to end, a blank line between them, anchors inside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from openbook.library.documents.model import SEPARATOR, Anchor, Block, BlockKind, Box, Document, Opening, Receipt

CELL_SEPARATOR = " | "


class Cell(NamedTuple):
    """A cell as displayed, its address, its stored value where that differs, and its place on a page."""

    text: str
    ref: str
    raw: str | None = None
    box: Box | None = None


class Line(NamedTuple):
    """A piece of a block with its own anchor; `glue` is what stands between it and the next one."""

    text: str
    page: int | None = None
    box: Box | None = None
    glue: str = "\n"


def flat(text: str) -> str:
    """`text` on one line: every run of white space is one space."""
    return " ".join(text.split())


class Builder:
    """Collects blocks in reading order. Blocks are stripped, empty ones are left out."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.blocks: list[Block] = []
        self.anchors: list[Anchor] = []
        self.notes: list[str] = []
        self.not_searchable: list[str] = []
        self.metadata: dict[str, str] = {}
        self.pages = 0
        self.pages_without_text: list[int] = []
        self.ocr_pages: list[int] = []
        self.encoding: str | None = None
        self.opening = Opening()
        self._parts: list[str] = []
        self._length = 0

    def add(
        self, kind: BlockKind, text: str, *, page: int | None = None, level: int = 0, part: str | None = None
    ) -> int:
        """Appends a block and returns its start, or -1 when `text` is blank. `part` anchors the whole block."""
        text = text.strip("\r\n").rstrip() if kind == "code" else text.strip()
        if not text.strip():
            return -1
        start = self._append(text)
        self.blocks.append(Block(kind, start, start + len(text), page, level))
        if part is not None:
            self.anchors.append(Anchor(start, start + len(text), page, part=part))
        return start

    def lines(self, kind: BlockKind, lines: Sequence[Line], *, level: int = 0) -> int:
        """A block made of pieces, each with an anchor of its own; pieces must not be blank."""
        if not lines:
            return -1
        pieces: list[str] = []
        length = 0
        spans: list[tuple[int, int]] = []
        for number, line in enumerate(lines):
            spans.append((length, length + len(line.text)))
            glue = line.glue if number < len(lines) - 1 else ""
            pieces.append(line.text + glue)
            length += len(line.text) + len(glue)
        start = self._append("".join(pieces))
        self.blocks.append(Block(kind, start, start + length, lines[0].page, level))
        self.anchors += [
            Anchor(start + a, start + b, line.page, line.box)
            for line, (a, b) in zip(lines, spans, strict=True)
            if line.page is not None
        ]
        return start

    def table(
        self,
        rows: Iterable[Sequence[Cell]],
        *,
        header_rows: int = 0,
        page: int | None = None,
        sheet: str | None = None,
        part: str | None = None,
    ) -> int:
        """One line a row, cells joined by " | ", an anchor for every cell that is not empty; blank rows left out."""
        pieces: list[str] = []
        anchors: list[Anchor] = []
        length = header_end = 0
        for number, row in enumerate(rows):
            cells = [flat(cell.text) for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if not cells:
                continue
            length += 1 if pieces else 0
            line_start = length
            for column, text in enumerate(cells):
                length += len(CELL_SEPARATOR) if column else 0
                if text:
                    cell = row[column]
                    end = length + len(text)
                    anchors.append(Anchor(length, end, page, cell.box, sheet, cell.ref, cell.raw, part))
                length += len(text)
            line = CELL_SEPARATOR.join(cells)
            # An empty first cell would let the block begin with white space, which a stripped slice would lose.
            assert length - line_start == len(line)
            pieces.append(line)
            if number < header_rows:
                header_end = length
        if not pieces:
            return -1
        text = "\n".join(pieces)
        lead, tail = len(text) - len(text.lstrip()), len(text.rstrip())
        start = self._append(text[lead:tail]) - lead
        self.blocks.append(
            Block("table", start + lead, start + tail, page, 0, start + max(lead, min(header_end, tail)))
        )
        self.anchors += [anchor._replace(start=start + anchor.start, end=start + anchor.end) for anchor in anchors]
        return start + lead

    def embed(self, document: Document, part: str | None = None) -> None:
        """Appends all blocks of another document; `part` names it in every anchor."""
        if not document.text.strip():
            return
        start = self._append(document.text)
        for block in document.blocks:
            header_end = block.header_end + start if block.header_end >= 0 else -1
            self.blocks.append(
                block._replace(start=block.start + start, end=block.end + start, header_end=header_end, page=None)
            )
        moved = [a._replace(start=a.start + start, end=a.end + start) for a in document.anchors]
        if part is not None:
            # One anchor a line must name the part; blocks without anchors of their own get one.
            moved = [anchor._replace(part=part) for anchor in moved] or [
                Anchor(block.start + start, block.end + start, part=part) for block in document.blocks
            ]
        self.anchors += moved

    def text(self, block: Block) -> str:
        """The text of a block that was added."""
        return "".join(self._parts)[block.start : block.end]

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def missing(self, text: str) -> None:
        """Names something that is in the file and will not be found by a search."""
        if text not in self.not_searchable:
            self.not_searchable.append(text)

    def document(self, title: str = "", metadata: Mapping[str, str] | None = None, *, otherwise: str = "") -> Document:
        """The finished document; its title is `title`, else the first heading, else `otherwise`."""
        text = "".join(self._parts)
        clean = encodable(text)
        if clean is not text:
            self.note("characters that are not valid Unicode were replaced by U+FFFD")
        if not self.blocks:
            self.missing("no text was found in the file")
        receipt = Receipt(
            pages=self.pages,
            pages_without_text=tuple(self.pages_without_text),
            blocks=dict(Counter(block.kind for block in self.blocks)),
            tables=sum(block.kind == "table" for block in self.blocks),
            characters=len(clean),
            encoding=self.encoding,
            ocr_pages=tuple(self.ocr_pages),
            not_searchable=tuple(self.not_searchable),
            notes=tuple(self.notes),
        )
        return Document(
            text=clean,
            blocks=tuple(self.blocks),
            anchors=tuple(self.anchors),
            title=encodable(flat(title)) or self._first_heading(clean) or encodable(flat(otherwise)),
            kind=self.kind,
            receipt=receipt,
            metadata={key: encodable(value) for key, value in {**self.metadata, **(metadata or {})}.items()},
            opening=self.opening,
        )

    def _first_heading(self, text: str) -> str:
        return next((flat(text[b.start : b.end]) for b in self.blocks if b.kind == "heading"), "")

    def _append(self, text: str) -> int:
        if self._parts:
            self._parts.append(SEPARATOR)
            self._length += len(SEPARATOR)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start


def encodable(text: str) -> str:
    """`text` itself, or a copy of equal length in which NUL and lone surrogates are U+FFFD (SQLite stores UTF-8)."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text
