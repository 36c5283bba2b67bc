"""Ruled tables of a PDF page, by pdfplumber, which is asked only for pages on which lines or boxes are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from openbook.library.documents.build import Cell, flat
from openbook.library.documents.model import Box
from openbook.library.documents.pdf.lines import TextLine

_MIN_PATHS = 4
_MAX_PATHS = 20_000
"""Above this a page is a drawing; pdfplumber would take minutes for it."""


_FRAME_LINES = 8


class PdfTable(NamedTuple):
    box: Box
    rows: list[list[Cell]]
    header_rows: int


def may_have_table(page: Any) -> bool:
    """Whether at least four paths are drawn on the page (`page` of pypdfium2): a ruled table has more."""
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFPage_CountObjects(page.raw)
    paths = 0
    for index in range(count):
        kind = pdfium.FPDFPageObj_GetType(pdfium.FPDFPage_GetObject(page.raw, index))
        # Tables drawn by a form (a template) are inside one object.
        paths += _MIN_PATHS if kind == pdfium.FPDF_PAGEOBJ_FORM else kind == pdfium.FPDF_PAGEOBJ_PATH
    return _MIN_PATHS <= paths <= _MAX_PATHS


def ruled_tables(page: Any) -> list[PdfTable]:
    """The tables of a page (of pdfplumber) with at least two rows and two columns and half of the cells filled."""
    left, top = page.bbox[0], page.bbox[1]
    found: list[PdfTable] = []
    for table in page.find_tables():
        texts = table.extract()
        if len(texts) < 2 or max(map(len, texts)) < 2 or _is_frame(texts):
            continue
        rows = [
            [
                Cell(flat(text or ""), f"R{r}C{c}", box=_moved(box, left, top) if box else None)
                for c, (text, box) in enumerate(zip(row, cells.cells, strict=False), start=1)
            ]
            for r, (row, cells) in enumerate(zip(texts, table.rows, strict=True), start=1)
        ]
        rows = _without_empty_columns(rows)
        filled = sum(bool(cell.text) for row in rows for cell in row)
        if not rows or len(rows[0]) < 2 or filled < 0.4 * sum(map(len, rows)):
            continue
        found.append(PdfTable(_moved(table.bbox, left, top), rows, _header_rows(rows)))
    return [one for one in found if not any(_inside(one.box, other.box) for other in found if other is not one)]


def _is_frame(texts: Sequence[Sequence[str | None]]) -> bool:
    """Whether boxes were drawn around whole parts of the page: a cell of many lines holds a table of its own."""
    return any(text is not None and text.count("\n") >= _FRAME_LINES for row in texts for text in row)


def outside(lines: Sequence[TextLine], tables: Sequence[PdfTable]) -> list[TextLine]:
    """The lines whose middle lies in none of the tables."""
    return [line for line in lines if not any(_holds(table.box, line.box) for table in tables)]


def _holds(outer: Box, inner: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def _inside(inner: Box, outer: Box) -> bool:
    return (
        inner != outer
        and inner[0] >= outer[0]
        and inner[1] >= outer[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )


def _moved(box: Any, left: float, top: float) -> Box:
    return round(box[0] - left, 1), round(box[1] - top, 1), round(box[2] - left, 1), round(box[3] - top, 1)


def _without_empty_columns(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Double rules make columns of no width; they hold nothing."""
    width = max(map(len, rows))
    used = [any(c < len(row) and row[c].text for row in rows) for c in range(width)]
    return [[cell for c, cell in enumerate(row) if used[c]] for row in rows]


def _header_rows(rows: Sequence[Sequence[Cell]]) -> int:
    """1 when the first row is filled with words, 0 when it has numbers like the others."""
    first = [cell.text for cell in rows[0]]
    words = all(text and not any(c.isdigit() for c in text[:1]) for text in first if text)
    return 1 if words and sum(map(bool, first)) >= 0.5 * len(first) else 0
