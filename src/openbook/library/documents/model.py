"""What a file becomes: a `Document` of text, blocks and anchors, with a `Receipt` of what was and was not read.

All offsets are Unicode code points into `Document.text`, which is the text as extracted: no normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

BlockKind = Literal["heading", "paragraph", "list", "table", "code", "figure"]
Box = tuple[float, float, float, float]
SEPARATOR = "\n\n"


class Block(NamedTuple):
    """A run of text of one kind. Blocks are in order and do not overlap; between them lie only line breaks.

    `header_end`: of a table, the end of its header rows (`start:header_end` is repeated before every chunk of it);
    `start` when it has none. `level`: 1..6 of a heading, 0 otherwise. `page` is 1-based (slides count as pages).
    """

    kind: BlockKind
    start: int
    end: int
    page: int | None = None
    level: int = 0
    header_end: int = -1


class Anchor(NamedTuple):
    """Where `start:end` of the text stands in the file. One per line of a PDF, per cell of a sheet or table.

    `box`: (left, top, right, bottom) in PDF points from the page's top left corner. `cell`: "B7" in a sheet,
    "R2C3" in other tables. `raw`: the stored value of a cell where it differs from what is displayed.
    `part`: "notes" of a slide, "attachment:NAME" of a mail, "footnote", "comment", ...
    """

    start: int
    end: int
    page: int | None = None
    box: Box | None = None
    sheet: str | None = None
    cell: str | None = None
    raw: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What reading a file gave. `not_searchable` names everything that was left out, and why, in plain words."""

    pages: int = 0
    pages_without_text: tuple[int, ...] = ()
    blocks: Mapping[str, int] = field(default_factory=dict)
    tables: int = 0
    characters: int = 0
    encoding: str | None = None
    ocr_pages: tuple[int, ...] = ()
    not_searchable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """What holds where a part of a large document begins; the first part, and a small document, has the default.

    `glue`: what stands in the text between the part before and this one. `continues`: its first block is the rest of the
    last one of the part before. `headings`: (level, text) of those in force, outermost first. `table_header`: the header
    of the table that goes on.
    """

    glue: str = SEPARATOR
    continues: bool = False
    headings: tuple[tuple[int, str], ...] = ()
    table_header: str = ""


@dataclass(frozen=True)
class Document:
    """A document, or one part of a large one, whose offsets then count from the beginning of the part."""

    text: str
    blocks: tuple[Block, ...]
    anchors: tuple[Anchor, ...] = ()
    title: str = ""
    kind: str = "text"
    """Name of the reader: "markdown", "text", "html", "pdf", "docx", "xlsx", "pptx", "csv", "json", "epub", ..."""
    receipt: Receipt = field(default_factory=Receipt)
    metadata: Mapping[str, str] = field(default_factory=dict)
    opening: Opening = Opening()

    def to_plain(self) -> dict[str, Any]:
        """Lists, dicts, strings and numbers only: what the frames between processes carry."""
        return {
            "text": self.text,
            "blocks": [list(block) for block in self.blocks],
            "anchors": [list(anchor) for anchor in self.anchors],
            "title": self.title,
            "kind": self.kind,
            "receipt": asdict(self.receipt),
            "metadata": dict(self.metadata),
            "opening": opening_to_plain(self.opening),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Document:
        return cls(
            text=plain["text"],
            blocks=tuple(Block(*block) for block in plain["blocks"]),
            anchors=tuple(anchor_from_plain(anchor) for anchor in plain["anchors"]),
            title=plain["title"],
            kind=plain["kind"],
            receipt=receipt_from_plain(plain["receipt"]),
            metadata=dict(plain["metadata"]),
            opening=opening_from_plain(plain["opening"]),
        )


def anchor_from_plain(row: list[Any]) -> Anchor:
    """An `Anchor` from its list, whose tail of Nones may be cut off."""
    anchor = Anchor(*row)
    return anchor._replace(box=(anchor.box[0], anchor.box[1], anchor.box[2], anchor.box[3])) if anchor.box else anchor


def receipt_from_plain(plain: Mapping[str, Any]) -> Receipt:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    return Receipt(**fields)


def opening_to_plain(opening: Opening) -> list[Any]:
    return [opening.glue, opening.continues, [list(one) for one in opening.headings], opening.table_header]


def opening_from_plain(row: list[Any]) -> Opening:
    glue, continues, headings, table_header = row
    return Opening(glue, continues, tuple((level, text) for level, text in headings), table_header)
