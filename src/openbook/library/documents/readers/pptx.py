"""PowerPoint: a slide is a page: its title, texts in reading order, tables, chart data, picture texts, notes, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from openbook.library.documents.archive import Archive
from openbook.library.documents.build import Builder, Cell, flat
from openbook.library.documents.model import Document
from openbook.library.documents.ocr import cure, picture_text
from openbook.library.documents.readers.docx import core_properties
from openbook.library.documents.source import Source

P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_REL = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_PLACEHOLDERS_LEFT_OUT = frozenset({"dt", "ftr", "sldNum", "hdr"})
_MIN_PICTURE_BYTES = 1000
_FILE_NAME = re.compile(r".*\.(?:png|jpe?g|gif|bmp|emf|wmf|tiff?)$", re.IGNORECASE)

Relations = dict[str, tuple[str, str, bool]]


def read(source: Source) -> Document:
    return _Presentation(source).document()


class _Presentation:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.archive = Archive(source)
        self.builder = Builder("pptx")
        self.unread_pictures: set[int] = set()
        self.page = 0

    def document(self) -> Document:
        part = next(
            (target for kind, target, _ in self.archive.relations("").values() if kind == "officeDocument"),
            "ppt/presentation.xml",
        )
        root = self.archive.xml(part)
        if root is None:
            raise self.source.unreadable("it has no presentation part", "save it again in PowerPoint or LibreOffice")
        relations = self.archive.relations(part)
        for slide in root.iterfind(f"{P}sldIdLst/{P}sldId"):
            _, target, external = relations.get(slide.get(f"{_REL}id", ""), ("", "", True))
            if not external:
                self.page += 1
                self._slide(target)
        self.builder.pages = self.page
        if self.unread_pictures:
            numbers = ", ".join(map(str, sorted(self.unread_pictures)))
            self.builder.missing(f"slides {numbers}: text inside pictures was not read ({cure()})")
        information = core_properties(self.archive)
        return self.builder.document(information.pop("title", ""), information, otherwise=self.source.stem)

    def _slide(self, target: str) -> None:
        root = self.archive.xml(target)
        if root is None:
            return
        if root.get("show") == "0":
            self.builder.note(f"slide {self.page} is hidden; it was read")
        relations = self.archive.relations(target)
        before = len(self.builder.blocks)
        tree = root.find(f"{P}cSld/{P}spTree")
        if tree is not None:
            shapes = sorted(_shapes(tree), key=_place)
            for shape in sorted(shapes, key=lambda each: not _is_title(each)):
                self._shape(shape, relations)
        for kind, related, _ in relations.values():
            if kind == "notesSlide":
                self._notes(related)
            elif kind == "comments":
                self._comments(related)
        if len(self.builder.blocks) == before:
            self.builder.pages_without_text.append(self.page)

    def _shape(self, shape: Any, relations: Relations) -> None:
        tag = shape.tag
        if tag == f"{P}graphicFrame":
            self._frame(shape, relations)
        elif _placeholder(shape) not in _PLACEHOLDERS_LEFT_OUT:
            body = shape.find(f"{P}txBody")
            if body is not None:
                self._text(body, is_title=_is_title(shape))
        for blip in shape.iter(f"{A}blip"):
            self._picture(blip, relations)
        description = _description(shape)
        if description:
            self.builder.add("figure", description, page=self.page, part="alt text")

    def _text(self, body: Any, *, is_title: bool) -> None:
        paragraphs = [(level_of(p), paragraph_text(p)) for p in body.iterfind(f"{A}p")]
        filled = [(level, text) for level, text in paragraphs if text]
        if is_title:
            self.builder.add("heading", " ".join(flat(text) for _, text in filled), page=self.page, level=1)
        elif len(filled) > 1:
            lines = [f"{'  ' * level}- {text}" for level, text in filled]
            self.builder.add("list", "\n".join(lines), page=self.page)
        elif filled:
            self.builder.add("paragraph", filled[0][1], page=self.page)

    def _frame(self, frame: Any, relations: Relations) -> None:
        for table in frame.iter(f"{A}tbl"):
            self._table(table)
        for chart in frame.iter(f"{_C}chart"):
            _, target, external = relations.get(chart.get(f"{_REL}id", ""), ("", "", True))
            root = None if external else self.archive.xml(target)
            if root is not None:
                self._chart(root)
        for diagram in frame.iter(_DIAGRAM):
            _, target, external = relations.get(diagram.get(f"{_REL}dm", ""), ("", "", True))
            root = None if external else self.archive.xml(target)
            lines = [f"- {text}" for p in root.iter(f"{A}p") if (text := paragraph_text(p))] if root is not None else []
            self.builder.add("list", "\n".join(lines), page=self.page)

    def _table(self, table: Any) -> None:
        rows: list[list[Cell]] = []
        above: dict[int, str] = {}
        for r, row in enumerate(table.iterfind(f"{A}tr"), start=1):
            cells: list[Cell] = []
            for c, cell in enumerate(row.iterfind(f"{A}tc"), start=1):
                text = flat(" ".join(paragraph_text(p) for p in cell.iter(f"{A}p")))
                text = above.get(c, "") if cell.get("vMerge") in ("1", "true") else text
                above[c] = text
                cells.append(Cell(text, f"R{r}C{c}"))
            rows.append(cells)
        properties = table.find(f"{A}tblPr")
        has_header = properties is not None and properties.get("firstRow") in ("1", "true")
        self.builder.table(rows, header_rows=int(has_header and len(rows) > 1), page=self.page)

    def _chart(self, root: Any) -> None:
        """The data of a chart as a table: a row a category, a column a series."""
        title = root.find(f"{_C}chart/{_C}title")
        if title is not None:
            text = flat(" ".join(paragraph_text(p) for p in title.iter(f"{A}p")))
            self.builder.add("paragraph", text, page=self.page, part="chart")
        series = list(root.iter(f"{_C}ser"))
        columns = [_points(one, ("val", "yVal")) for one in series]
        categories = _points(series[0], ("cat", "xVal")) if series else {}
        names = [" ".join(_points(one, ("tx",)).values()) for one in series]
        keys = sorted(set(categories) | {key for column in columns for key in column})
        rows = [[Cell("", ""), *(Cell(name, f"R1C{c}") for c, name in enumerate(names, start=2))]]
        for r, key in enumerate(keys, start=2):
            cells = [Cell(categories.get(key, ""), f"R{r}C1")]
            rows.append(cells + [Cell(column.get(key, ""), f"R{r}C{c}") for c, column in enumerate(columns, start=2)])
        if keys:
            self.builder.table(rows, header_rows=1, page=self.page, part="chart")

    def _picture(self, blip: Any, relations: Relations) -> None:
        _, target, external = relations.get(blip.get(f"{_REL}embed", ""), ("", "", True))
        size = 0 if external else self.archive.size(target)
        if size < _MIN_PICTURE_BYTES:
            return
        data = self.archive.picture(target) if self.source.ocr is not None else b""
        if self.source.ocr is None or not data:
            self.unread_pictures.add(self.page)
        elif text := picture_text(self.source.ocr, data):
            self.builder.add("figure", text, page=self.page, part="picture")
            if self.page not in self.builder.ocr_pages:
                self.builder.ocr_pages.append(self.page)

    def _notes(self, target: str) -> None:
        root = self.archive.xml(target)
        for shape in root.iter(f"{P}sp") if root is not None else ():
            body = shape.find(f"{P}txBody")
            if body is not None and _placeholder(shape) == "body":
                text = "\n".join(filter(None, (paragraph_text(p) for p in body.iterfind(f"{A}p"))))
                self.builder.add("paragraph", text, page=self.page, part="notes")

    def _comments(self, target: str) -> None:
        root = self.archive.xml(target)
        for node in root.iter(f"{P}text") if root is not None else ():
            self.builder.add("paragraph", node.text or "", page=self.page, part="comment")


def paragraph_text(paragraph: Any) -> str:
    pieces: list[str] = []
    for node in paragraph.iter():
        if node.tag == f"{A}t":
            pieces.append(node.text or "")
        elif node.tag == f"{A}br":
            pieces.append("\n")
        elif node.tag == f"{A}tab":
            pieces.append("\t")
    return "".join(pieces).strip()


def level_of(paragraph: Any) -> int:
    properties = paragraph.find(f"{A}pPr")
    level = properties.get("lvl", "0") if properties is not None else "0"
    return int(level) if level.isdecimal() else 0


def _shapes(tree: Any) -> Iterator[Any]:
    """Shapes, those of groups included."""
    for child in tree:
        if child.tag == f"{P}grpSp":
            yield from _shapes(child)
        elif child.tag in (f"{P}sp", f"{P}pic", f"{P}graphicFrame", f"{P}cxnSp"):
            yield child
        elif child.tag.endswith("}AlternateContent"):
            choice = next(iter(child), None)
            if choice is not None:
                yield from _shapes(choice)


def _placeholder(shape: Any) -> str:
    node = shape.find(f"{P}nvSpPr/{P}nvPr/{P}ph")
    return node.get("type", "body") if node is not None else ""


def _is_title(shape: Any) -> bool:
    return _placeholder(shape) in ("title", "ctrTitle")


def _place(shape: Any) -> tuple[int, int]:
    """(top, left) in steps of a quarter inch; shapes that take their place from the layout keep their order."""
    offset = next(shape.iter(f"{A}off"), None)
    frame = shape.find(f"{P}xfrm/{A}off")
    offset = frame if frame is not None else offset
    if offset is None:
        return -1, 0
    return int(offset.get("y", "0")) // 228_600, int(offset.get("x", "0"))


def _description(shape: Any) -> str:
    for node in shape.iter(f"{P}cNvPr"):
        text = flat(node.get("descr") or "")
        if text and not _FILE_NAME.match(text):
            return text
    return ""


def _points(series: Any, names: tuple[str, ...]) -> dict[int, str]:
    for name in names:
        node = series.find(_C + name)
        if node is not None:
            return {int(p.get("idx", "0")): flat(p.findtext(f"{_C}v") or "") for p in node.iter(f"{_C}pt")} or {
                0: flat(node.findtext(f"{_C}v") or "")
            }
    return {}
