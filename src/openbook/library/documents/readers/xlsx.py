"""Excel workbooks, read from their XML row by row: cells as displayed, the stored value in the anchor.

A sheet is a heading (its name) and tables; a row of one cell above a table is its caption. Hidden sheets, rows and
columns are read and named in the receipt; a formula without a stored value is shown as a formula and named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from openbook.library.documents.archive import Archive, parse_xml
from openbook.library.documents.build import Builder, Cell, flat
from openbook.library.documents.model import Anchor, Document
from openbook.library.documents.ocr import cure, picture_text
from openbook.library.documents.readers.docx import core_properties
from openbook.library.documents.readers.xlsx_format import BUILTIN, display, general, is_date, moment
from openbook.library.documents.source import Source

S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_REL = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_REF = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})")
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_STRICT = b"http://purl.oclc.org/ooxml/spreadsheetml/main"
_MAX_NAMED = 20

Row = tuple[int, dict[int, Cell]]


def read(source: Source) -> Document:
    return _Workbook(source).document()


class _Workbook:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.archive = Archive(source)
        self.builder = Builder("xlsx")
        self.part = next(
            (target for kind, target, _ in self.archive.relations("").values() if kind == "officeDocument"),
            "xl/workbook.xml",
        )
        self.relations = self.archive.relations(self.part)
        self.strings = self._strings()
        self.formats = self._formats()
        self.unstored: list[str] = []
        self.unread_pictures = 0
        self.is_1904 = False

    def document(self) -> Document:
        root = self._xml(self.part)
        if root is None:
            raise self.source.unreadable("it has no workbook part", "save it again in Excel or LibreOffice")
        properties = root.find(f"{S}workbookPr")
        self.is_1904 = properties is not None and properties.get("date1904") in ("1", "true")
        for sheet in root.iterfind(f"{S}sheets/{S}sheet"):
            _, target, external = self.relations.get(sheet.get(f"{_REL}id", ""), ("", "", True))
            name = sheet.get("name", "")
            if not external and "worksheet" in target:
                self.builder.pages += 1
                if sheet.get("state") in ("hidden", "veryHidden"):
                    self.builder.note(f"sheet {name!r} is hidden; it was read")
                self._sheet(name, target)
            elif not external:
                self.builder.missing(f"sheet {name!r} is a chart or macro sheet, not a table")
        if self.unstored:
            named = ", ".join(self.unstored[:_MAX_NAMED])
            rest = f" and {len(self.unstored) - _MAX_NAMED} more" if len(self.unstored) > _MAX_NAMED else ""
            self.builder.missing(
                f"formulas without a stored value: {named}{rest} (open the file in Excel or LibreOffice and save it)"
            )
        if self.unread_pictures:
            self.builder.missing(f"text inside {self.unread_pictures} pictures was not read ({cure()})")
        information = core_properties(self.archive)
        return self.builder.document(information.pop("title", "") or self.source.stem, information)

    def _xml(self, name: str) -> Any:
        data = self.archive.read(name)
        if not data:
            return None
        return parse_xml(self.source, data.replace(_STRICT, S[1:-1].encode()), name)

    def _strings(self) -> list[str]:
        target = next((target for kind, target, _ in self.relations.values() if kind == "sharedStrings"), "")
        root = self._xml(target) if target else None
        return [_rich(item) for item in root] if root is not None else []

    def _formats(self) -> list[str]:
        """The format code of each cell style."""
        target = next((target for kind, target, _ in self.relations.values() if kind == "styles"), "")
        root = self._xml(target) if target else None
        if root is None:
            return []
        codes = dict(BUILTIN)
        for node in root.iterfind(f"{S}numFmts/{S}numFmt"):
            codes[int(node.get("numFmtId", "0"))] = node.get("formatCode", "General")
        return [codes.get(int(xf.get("numFmtId", "0")), "General") for xf in root.iterfind(f"{S}cellXfs/{S}xf")]

    # --- a sheet ---

    def _sheet(self, name: str, target: str) -> None:
        root = self._xml(target)
        if root is None:
            return
        self._note_hidden(name, root)
        rows = [row for row in self._rows(name, root) if row[1]]
        _fill_merged(rows, root)
        relations = self.archive.relations(target)
        headers = self._declared_headers(relations)
        regions = list(_regions(rows, headers))
        pictures = list(self._pictures(relations))
        comments = list(self._comments(relations))
        if not (regions or pictures or comments):
            return
        start = self.builder.add("heading", flat(name), level=1)
        if start >= 0:
            self.builder.anchors.append(Anchor(start, start + len(flat(name)), sheet=name))
        for caption, body in regions:
            for cell in caption:
                self._caption(name, cell)
            if body:
                columns = sorted({column for _, cells in body for column in cells})
                table = [[cells.get(column, Cell("", "")) for column in columns] for _, cells in body]
                self.builder.table(table, header_rows=_header_rows(body, columns, headers), sheet=name)
        for text in pictures:
            self.builder.add("figure", text, part=f"picture on sheet {name}")
        for ref, text in comments:
            start = self.builder.add("paragraph", f"{ref}: {text}")
            end = start + len(f"{ref}: {text}".strip())
            self.builder.anchors.append(Anchor(start, end, sheet=name, cell=ref, part="comment"))

    def _caption(self, sheet: str, cell: Cell) -> None:
        text = cell.text.strip()
        start = self.builder.add("paragraph", text)
        if start >= 0:
            self.builder.anchors.append(Anchor(start, start + len(text), None, None, sheet, cell.ref, cell.raw))

    def _note_hidden(self, name: str, root: Any) -> None:
        rows = sum(row.get("hidden") in ("1", "true") for row in root.iterfind(f"{S}sheetData/{S}row"))
        columns = sum(
            int(c.get("max", "0")) - int(c.get("min", "0")) + 1
            for c in root.iterfind(f"{S}cols/{S}col")
            if c.get("hidden") in ("1", "true") and int(c.get("max", "0")) < 16_000
        )
        if rows or columns:
            self.builder.note(f"sheet {name!r} has {rows} hidden rows and {columns} hidden columns; they were read")

    def _rows(self, sheet: str, root: Any) -> Iterator[Row]:
        number = 0
        for row in root.iterfind(f"{S}sheetData/{S}row"):
            number = int(row.get("r") or number + 1)
            cells: dict[int, Cell] = {}
            column = 0
            for node in row:
                if node.tag != f"{S}c":
                    continue
                ref = node.get("r") or f"{letters(column + 1)}{number}"
                match = _REF.fullmatch(ref)
                column = column_number(match.group(1)) if match else column + 1
                cell = self._cell(sheet, ref, node)
                if cell is not None and flat(cell.text):
                    cells[column] = cell
            yield number, cells

    def _cell(self, sheet: str, ref: str, node: Any) -> Cell | None:
        stored = node.find(f"{S}v")
        text = stored.text if stored is not None else None
        kind = node.get("t", "n")
        if kind == "inlineStr":
            inline = node.find(f"{S}is")
            return Cell(_rich(inline), ref) if inline is not None else None
        if text is None:
            formula = node.find(f"{S}f")
            if formula is None:
                return None
            self.unstored.append(f"{sheet}!{ref}")
            return Cell(f"={formula.text or ''}", ref)
        match kind:
            case "s":
                index = int(text)
                return Cell(self.strings[index] if 0 <= index < len(self.strings) else "", ref)
            case "b":
                return Cell("TRUE" if text == "1" else "FALSE", ref)
            case "n":
                return self._numeric(ref, text, int(node.get("s", "0")))
            case _:  # str, e (an error such as #DIV/0!), d (an ISO date)
                return Cell(_ESCAPE.sub(_unescaped, text), ref)

    def _numeric(self, ref: str, text: str, style: int) -> Cell:
        try:
            value = float(text)
        except ValueError:
            return Cell(text, ref)
        code = self.formats[style] if style < len(self.formats) else "General"
        plain = general(value) if math.isfinite(value) else text
        shown = plain if code in ("General", "@") else display(value, code, is_1904=self.is_1904)
        raw: str | None = plain if plain == text or float(plain) == value else repr(value)
        if is_date(code) and (when := moment(value, self.is_1904)) is not None and value >= 0:
            raw = when.date().isoformat() if value == int(value) else when.isoformat(timespec="seconds")
        return Cell(shown, ref, None if raw == shown else raw)

    def _declared_headers(self, relations: dict[str, tuple[str, str, bool]]) -> set[int]:
        """Rows that an Excel table on the sheet declares as its header."""
        found: set[int] = set()
        for kind, target, _ in relations.values():
            root = self._xml(target) if kind == "table" else None
            if root is not None and root.get("headerRowCount", "1") != "0":
                match = _REF.match(root.get("ref", ""))
                if match:
                    found.add(int(match.group(2)))
        return found

    def _comments(self, relations: dict[str, tuple[str, str, bool]]) -> Iterator[tuple[str, str]]:
        for kind, target, _ in relations.values():
            root = self._xml(target) if kind == "comments" else None
            for comment in root.iter(f"{S}comment") if root is not None else ():
                if text := flat(_rich(comment.find(f"{S}text"))):
                    yield comment.get("ref", ""), text

    def _pictures(self, relations: dict[str, tuple[str, str, bool]]) -> Iterator[str]:
        for kind, target, _ in relations.values():
            root = self.archive.xml(target) if kind == "drawing" else None
            if root is None:
                continue
            inner = self.archive.relations(target)
            for blip in root.iter(_BLIP):
                _, picture, external = inner.get(blip.get(f"{_REL}embed", ""), ("", "", True))
                if external or not self.archive.size(picture):
                    continue
                data = self.archive.picture(picture) if self.source.ocr is not None else b""
                if self.source.ocr is None or not data:
                    self.unread_pictures += 1
                elif text := picture_text(self.source.ocr, data):
                    yield text
            for node in root.iter("{http://schemas.openxmlformats.org/drawingml/2006/main}t"):
                if flat(node.text or ""):
                    yield flat(node.text)


def _rich(item: Any) -> str:
    """The text of a string with runs, without phonetic guides."""
    if item is None:
        return ""
    pieces = (
        node.text or "" for node in item.iter(f"{S}t") if node.getparent() is None or node.getparent().tag != f"{S}rPh"
    )
    return _ESCAPE.sub(_unescaped, "".join(pieces))


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 16))


def _fill_merged(rows: Sequence[Row], root: Any) -> None:
    """A cell merged over several rows shows its value in each of them; the address stays that of the first."""
    by_number = dict(rows)
    for merge in root.iterfind(f"{S}mergeCells/{S}mergeCell"):
        ends = _REF.findall(merge.get("ref", ""))
        if len(ends) != 2:
            continue
        (left, top), (_, bottom) = ends
        first = by_number.get(int(top), {}).get(column_number(left))
        if first is None:
            continue
        for number in range(int(top) + 1, min(int(bottom), int(top) + 10_000) + 1):
            if number in by_number:
                by_number[number].setdefault(column_number(left), first)


def _regions(rows: Sequence[Row], headers: set[int]) -> Iterator[tuple[list[Cell], list[Row]]]:
    """(captions, rows) of each table. A blank row ends a table unless what follows looks like more of the same."""
    caption: list[Cell] = []
    body: list[Row] = []
    last = 0
    for number, cells in rows:
        gap = number > last + 1
        last = number
        begins = gap and (len(cells) == 1 or _is_words(cells.values()))
        if (begins or number in headers) and body:
            yield caption, body
            caption, body = [], []
        if len(cells) == 1 and not body and number not in headers:
            caption += cells.values()
        else:
            body.append((number, cells))
    if caption or body:
        yield caption, body


def _is_words(cells: Any) -> bool:
    """Whether all cells are words: no number, date or percentage."""
    return all(cell.raw is None and not looks_numeric(cell.text) for cell in cells)


def looks_numeric(text: str) -> bool:
    """Whether `text` is a number, with a currency, thousands, brackets or a percent sign or without."""
    return re.fullmatch(r"[-+(]?[$€£¥￥]?\s*\d[\d,.\s]*\)?\s*%?", text.strip()) is not None


def _header_rows(body: Sequence[Row], columns: Sequence[int], headers: set[int]) -> int:
    """How many leading rows are the header: declared, or words in at least half of the columns and in the first."""
    if len(body) < 2:
        return 0
    if body[0][0] in headers:
        return 1
    first = body[0][1]
    if not _is_words(first.values()) or len(first) < max(2, len(columns) / 2):
        # A row of years or numbers over columns that has words on its left is a header as well.
        return 0
    second = body[1][1]
    groups = len(first) < len(columns) and len(second) > len(first) and _is_words(second.values())
    return 2 if groups and len(body) > 2 else 1


def column_number(text: str) -> int:
    """1 for A, 27 for AA."""
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - 64
    return number


def letters(number: int) -> str:
    """A for 1, AA for 27."""
    text = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text
