"""PDF: lines with boxes -> furniture out -> ruled tables -> reading order -> paragraphs; pictures through OCR.

PDFium is not thread-safe: one file at a time in a process.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openbook.core.errors import UnreadableFile
from openbook.library.documents.build import Builder, Line
from openbook.library.documents.model import Document
from openbook.library.documents.ocr import cure
from openbook.library.documents.pdf.aligned import AlignedTable, split_aligned
from openbook.library.documents.pdf.furniture import split_furniture
from openbook.library.documents.pdf.layout import (
    body_size,
    heading_sizes,
    paragraphs,
    reading_order,
)
from openbook.library.documents.pdf.lines import PageText, TextLine, page_text
from openbook.library.documents.pdf.pictures import has_pictures, page_by_ocr, pictures_by_ocr
from openbook.library.documents.pdf.tables import PdfTable, may_have_table, outside, ruled_tables
from openbook.library.documents.portion import Portion
from openbook.library.documents.source import Source

_GARBAGE = 0.3
"""Share of undecodable characters from which a page's text is not believed."""
_MAX_PAGES = 20_000
_NO_TITLE = re.compile(r"(?:untitled|\(?anonymous|microsoft (?:word|powerpoint|excel) - |slide 1$|.*\.\w{2,4}$)", re.I)
"""What programs write into the title field when nobody gave one."""


PAGES_TOGETHER = 500
"""Pages read at once: what repeats on pages and which sizes are headings is found out among these."""


def read(source: Source) -> Document:
    with _opened(source) as pdf:
        return _Reader(source, pdf).document()


def page_ranges(path: Path) -> list[Portion]:
    """The parts of a PDF that is opened by its path: one for up to `PAGES_TOGETHER` pages."""
    source = Source(path.name, b"", path=path)
    with _opened(source) as pdf:
        count = _page_count(source, pdf)
    ends = range(PAGES_TOGETHER, count + PAGES_TOGETHER, PAGES_TOGETHER)
    return [
        Portion("pdf", max(end - PAGES_TOGETHER, 0), min(end, count), number=number)
        for number, end in enumerate(ends or [0])
    ]


def _page_count(source: Source, pdf: Any) -> int:
    count = len(pdf)
    if count > _MAX_PAGES:
        raise source.unreadable(f"it has {count:,} pages, the limit is {_MAX_PAGES:,}", "split it")
    return count


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(source.path or source.data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise source.unreadable("it is encrypted", "save a copy without a password (qpdf --decrypt)") from None
        raise source.unreadable(f"it is damaged ({error})", "get a complete copy, or repair it (qpdf)") from None
    try:
        yield pdf
    finally:
        pdf.close()


class _Reader:
    def __init__(self, source: Source, pdf: Any) -> None:
        self.source, self.pdf = source, pdf
        self.builder = Builder("pdf")
        self.first = 0
        self.tables: dict[int, list[PdfTable]] = {}
        self.lines: list[list[TextLine]] = []
        self.pictures: dict[int, list[TextLine]] = {}
        self.heights: list[float] = []
        self.unread: list[int] = []
        self.undecoded: list[int] = []
        self.unseen: list[int] = []

    def document(self) -> Document:
        portion = self.source.portion
        last = _page_count(self.source, self.pdf) if portion is None else portion.end
        self.first = 0 if portion is None else portion.start
        self.builder.pages = last - self.first
        for number in range(self.first, last):
            self._page(number)
        self._find_tables()
        lines = [outside(lines, self.tables.get(page, ())) for page, lines in enumerate(self.lines, self.first)]
        lines, removed = split_furniture(lines, self.heights)
        for note in removed:
            self.builder.note(note)
        body = body_size(lines)
        sizes = heading_sizes(lines, body)
        for number, page_lines in enumerate(lines, self.first):
            self._add_page(number, page_lines, body, sizes)
        self._report()
        information = self._information()
        return self.builder.document(information.pop("title", "") or self._title(), information)

    def _title(self) -> str:
        """The first of the largest headings on the first page with any, else the file's name."""
        headings = [block for block in self.builder.blocks if block.kind == "heading"]
        first = [block for block in headings if block.page == headings[0].page]
        if not first:
            return self.source.stem
        best = min(first, key=lambda block: block.level)
        return self.builder.text(best)

    def _page(self, number: int) -> None:
        page = self.pdf[number]
        text_page = page.get_textpage()
        try:
            self.heights.append(page.get_height())
            found = page_text(page, text_page)
            self.lines.append(found.lines)
            if not found.lines or found.garbage > _GARBAGE:
                self._without_text(page, number, found)
            elif has_pictures(page):
                if self.source.ocr is None:
                    self.unseen.append(number + 1)
                elif read := pictures_by_ocr(page, self.source.ocr, found.lines):
                    self.pictures[number] = read
                    self.builder.ocr_pages.append(number + 1)
            if may_have_table(page):
                self.tables[number] = []
        finally:
            text_page.close()
            page.close()

    def _without_text(self, page: Any, number: int, found: PageText) -> None:
        self.builder.pages_without_text.append(number + 1)
        if self.source.ocr is not None:
            read = page_by_ocr(page, self.source.ocr)
            if read:
                self.lines[number - self.first] = read
                self.builder.ocr_pages.append(number + 1)
                return
        if found.lines:
            self.lines[number - self.first] = []
            self.undecoded.append(number + 1)
        elif has_pictures(page) or self.source.ocr is None:
            self.unread.append(number + 1)

    def _find_tables(self) -> None:
        wanted = [page for page in self.tables if self.lines[page - self.first]]
        self.tables = {}
        if not wanted:
            return
        import pdfplumber

        logging.getLogger("pdfminer").setLevel(logging.ERROR)
        try:
            with pdfplumber.open(
                self.source.path or io.BytesIO(self.source.data), pages=[page + 1 for page in wanted]
            ) as plumber:
                for page in plumber.pages:
                    self.tables[page.page_number - 1] = ruled_tables(page)
                    page.close()
        except UnreadableFile:
            raise
        except Exception as error:  # pdfminer fails in many ways on pages that PDFium reads
            self.builder.note(
                f"tables were read as text: pdfplumber failed ({type(error).__name__}: {str(error)[:80]})"
            )

    def _add_page(self, number: int, lines: list[TextLine], body: float, sizes: list[float]) -> None:
        """Tables stand where their top edge is among the lines: lines above, the table, lines below."""
        rest = lines
        for table in sorted(self.tables.get(number, []), key=lambda each: each.box[1]):
            above = [line for line in rest if line.box[3] <= table.box[1] + 2]
            rest = [line for line in rest if line.box[3] > table.box[1] + 2]
            self._add_lines(number, above, body, sizes)
            self.builder.table(table.rows, header_rows=table.header_rows, page=number + 1)
        self._add_lines(number, rest, body, sizes)
        pictured = [Line(line.text, number + 1, line.box) for line in self.pictures.get(number, [])]
        self.builder.lines("figure", pictured)

    def _add_lines(self, number: int, lines: list[TextLine], body: float, sizes: list[float]) -> None:
        for run in split_aligned(reading_order(lines)):
            if isinstance(run, AlignedTable):
                self.builder.table(run.rows, page=number + 1)
                continue
            for piece in paragraphs(run, number + 1, body, sizes):
                if piece.lines:
                    self.builder.lines(piece.kind, piece.lines, level=piece.level)

    def _report(self) -> None:
        def pages(numbers: list[int]) -> str:
            shown = ", ".join(map(str, numbers[:20])) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")
            return f"page{'s' if len(numbers) > 1 else ''} {shown}"

        remedy = "OCR found nothing" if self.source.ocr is not None else cure()
        if self.unread:
            self.builder.missing(f"{pages(self.unread)}: no text, probably scanned ({remedy})")
        if self.undecoded:
            self.builder.missing(f"{pages(self.undecoded)}: the fonts decode to garbage ({remedy})")
        if self.unseen:
            self.builder.missing(f"{pages(self.unseen)}: text inside pictures was not read ({cure()})")

    def _information(self) -> dict[str, str]:
        try:
            found = self.pdf.get_metadata_dict(skip_empty=True)
        except Exception:
            return {}
        names = {"Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords"}
        information = {name: str(found.get(key, "")).strip() for key, name in names.items()}
        if _NO_TITLE.match(information["title"]):
            del information["title"]
        return {name: value for name, value in information.items() if value}
