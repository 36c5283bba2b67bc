"""Word documents, by walking the XML: python-docx's paragraphs leave out tracked insertions and content controls.

Read: paragraphs, headings, numbered and bulleted lists, tables (nested ones after their row's table), links' text,
inserted text (deleted text is left out), text boxes, headers and footers, foot- and endnotes, comments, text in
pictures (OCR). Automatic list numbers are computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from openbook.library.documents.archive import Archive
from openbook.library.documents.build import Builder, Cell, flat
from openbook.library.documents.model import Document
from openbook.library.documents.ocr import cure, picture_text
from openbook.library.documents.readers.docx_styles import Numbering, Styles
from openbook.library.documents.source import Source

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_REL = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_DOC_PROPERTIES = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_ALTERNATE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_CORE = "docProps/core.xml"
_DROPPED = frozenset(
    {f"{W}del", f"{W}moveFrom", f"{W}instrText", f"{W}delText", f"{W}rPr", f"{W}pPr", f"{_ALTERNATE}Fallback"}
)
_NO_TEXT_BOX = f"{W}txbxContent"
_MIN_PICTURE_BYTES = 1000


def read(source: Source) -> Document:
    return _Reader(source).document()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.archive = Archive(source)
        self.builder = Builder("docx")
        self.part = next(
            (target for kind, target, _ in self.archive.relations("").values() if kind == "officeDocument"),
            "word/document.xml",
        )
        self.relations = self.archive.relations(self.part)
        self.styles = Styles(self.archive.xml(self._related("styles")))
        self.numbering = Numbering(self.archive.xml(self._related("numbering")))
        self.items: list[str] = []
        self.title = ""
        self.unread_pictures = 0

    def document(self) -> Document:
        root = self.archive.xml(self.part)
        body = root.find(f"{W}body") if root is not None else None
        if body is None:
            raise self.source.unreadable("it has no document body", "save it again in Word or LibreOffice")
        self._furniture("header")
        self._blocks(body, self.relations)
        self._end_list()
        self._furniture("footer")
        self._notes()
        if self.unread_pictures:
            count = self.unread_pictures
            self.builder.missing(f"text inside {count} picture{'s' if count > 1 else ''} was not read ({cure()})")
        if any(True for _ in body.iter(f"{W}del")):
            self.builder.note("deleted text of tracked changes is left out, inserted text is read")
        information = self._information()
        return self.builder.document(
            information.pop("title", "") or self.title, information, otherwise=self.source.stem
        )

    def _related(self, kind: str) -> str:
        return next((target for name, target, _ in self.relations.values() if name == kind), "")

    def _blocks(self, parent: Any, relations: dict[str, tuple[str, str, bool]], part: str | None = None) -> None:
        for node in parent:
            if node.tag == f"{W}p":
                self._paragraph(node, relations, part)
            elif node.tag == f"{W}tbl":
                self._end_list()
                self._table(node, relations, part)
            elif node.tag in (f"{W}sdt", f"{W}customXml", f"{W}ins", f"{W}moveTo", f"{W}smartTag"):
                content = node.find(f"{W}sdtContent")
                self._blocks(content if content is not None else node, relations, part)

    def _paragraph(self, node: Any, relations: dict[str, tuple[str, str, bool]], part: str | None) -> None:
        text = paragraph_text(node).strip()
        style, level = self.styles.of(node)
        item = self.numbering.of(node, style, self.styles) if text else None
        if text:
            if level:
                self._end_list()
                self.builder.add("heading", f"{item[1]} {text}" if item and item[1] else text, level=level, part=part)
            elif item is not None and part is None:
                self.items.append(f"{'  ' * item[0]}{item[1] or '-'} {text}")
            else:
                self._end_list()
                self.builder.add("paragraph", text, part=part)
                if self.styles.is_title(style) and not self.title:
                    self.title = text
        for box in _outer(node, _NO_TEXT_BOX):
            self._end_list()
            self._blocks(box, relations, part or "text box")
        self._pictures(node, relations, part)

    def _end_list(self) -> None:
        if self.items:
            self.builder.add("list", "\n".join(self.items))
            self.items = []

    def _table(self, table: Any, relations: dict[str, tuple[str, str, bool]], part: str | None) -> None:
        rows: list[list[Cell]] = []
        header_rows, in_header = 0, True
        above: dict[int, str] = {}
        for number, row in enumerate(_children(table, "tr"), start=1):
            cells: list[Cell] = []
            for cell in _children(row, "tc"):
                column = len(cells)
                text = " ".join(filter(None, (flat(paragraph_text(p)) for p in _children(cell, "p"))))
                merge = cell.find(f"{W}tcPr/{W}vMerge")
                if merge is not None and merge.get(f"{W}val") != "restart":
                    text = above.get(column, "")  # the value of a merged cell is repeated in every row
                above[column] = text
                cells.append(Cell(text, f"R{number}C{column + 1}"))
                span = cell.find(f"{W}tcPr/{W}gridSpan")
                width = min(int(span.get(f"{W}val", "1")), 200) if span is not None else 1
                cells += [Cell("", f"R{number}C{column + 1}")] * (width - 1)
            rows.append(cells)
            in_header = in_header and row.find(f"{W}trPr/{W}tblHeader") is not None
            header_rows += in_header
        if len(rows) > 1 and not header_rows and _first_row_is_header(rows):
            header_rows = 1
        if all(len(row) <= 1 for row in rows):  # a frame around text, not a table
            for cell in table.iter(f"{W}tc"):
                self._blocks(cell, relations, part)
            return
        self.builder.table(rows, header_rows=header_rows if header_rows < len(rows) else 0, part=part)
        for row in _children(table, "tr"):
            for cell in _children(row, "tc"):
                for nested in _children(cell, "tbl"):
                    self._table(nested, relations, part)
                for paragraph in _children(cell, "p"):
                    for box in _outer(paragraph, _NO_TEXT_BOX):
                        self._blocks(box, relations, part or "text box")
                    self._pictures(paragraph, relations, part)

    def _pictures(self, node: Any, relations: dict[str, tuple[str, str, bool]], part: str | None) -> None:
        for blip in node.iter(_BLIP):
            _, target, external = relations.get(blip.get(f"{_REL}embed", ""), ("", "", True))
            size = 0 if external else self.archive.size(target)
            if size < _MIN_PICTURE_BYTES:
                continue
            data = self.archive.picture(target) if self.source.ocr is not None else b""
            if self.source.ocr is None or not data:
                self.unread_pictures += 1
            elif text := picture_text(self.source.ocr, data):
                self._end_list()
                self.builder.add("figure", text, part=part or "picture")
        for properties in node.iter(_DOC_PROPERTIES):
            if description := flat(properties.get("descr") or ""):
                self._end_list()
                self.builder.add("figure", description, part=part or "alt text")

    def _furniture(self, kind: str) -> None:
        """Headers or footers, each different text once."""
        seen: set[str] = set()
        for name, target, _ in self.relations.values():
            root = self.archive.xml(target) if name == kind else None
            if root is None:
                continue
            text = flat(" ".join(paragraph_text(p) for p in root.iter(f"{W}p")))
            if text and text not in seen and not text.isdecimal():
                seen.add(text)
                self._blocks(root, self.archive.relations(target), kind)

    def _notes(self) -> None:
        for kind, element in (("footnotes", "footnote"), ("endnotes", "endnote"), ("comments", "comment")):
            target = self._related(kind)
            root = self.archive.xml(target) if target else None
            for note in root if root is not None else ():
                if note.get(f"{W}type") in ("separator", "continuationSeparator", "continuationNotice"):
                    continue
                text = "\n".join(filter(None, (paragraph_text(p).strip() for p in note.iter(f"{W}p"))))
                author = f"{note.get(f'{W}author')}: " if element == "comment" and note.get(f"{W}author") else ""
                if text:
                    self.builder.add("paragraph", author + text, part=element)

    def _information(self) -> dict[str, str]:
        return core_properties(self.archive)


def core_properties(archive: Archive) -> dict[str, str]:
    """title, author, subject and keywords of an OOXML file."""
    root = archive.xml(_CORE)
    names = {"title": "title", "creator": "author", "subject": "subject", "keywords": "keywords"}
    found: dict[str, str] = {}
    for node in root if root is not None else ():
        name = names.get(str(node.tag).rsplit("}", 1)[-1])
        if name and (node.text or "").strip():
            found[name] = node.text.strip()
    if found.get("title", "").lower() in ("powerpoint presentation", "presentation", "word document", "untitled"):
        del found["title"]
    return found


def paragraph_text(paragraph: Any) -> str:
    """The visible text of a paragraph, without its text boxes and without deleted text."""
    return "".join(_texts(paragraph))


def _texts(node: Any) -> Iterator[str]:
    for child in node:
        tag = child.tag
        if tag == f"{W}t":
            yield child.text or ""
        elif tag in (f"{W}tab", f"{W}ptab"):
            yield "\t"
        elif tag in (f"{W}br", f"{W}cr"):
            yield "\n"
        elif tag == f"{W}noBreakHyphen":
            yield "-"
        elif tag == f"{W}sym":
            yield _symbol(child)
        elif tag == "{http://schemas.openxmlformats.org/officeDocument/2006/math}t":
            yield child.text or ""
        elif tag not in _DROPPED and tag != _NO_TEXT_BOX:
            yield from _texts(child)


def _symbol(node: Any) -> str:
    code = node.get(f"{W}char", "")
    value = int(code, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,5}", code) else 0x25A1
    return chr(value - 0xF000 if 0xF020 <= value <= 0xF0FF else value)


def _children(node: Any, name: str) -> Iterator[Any]:
    """Direct children, through content controls and tracked insertions."""
    for child in node:
        if child.tag == W + name:
            yield child
        elif child.tag in (f"{W}sdt", f"{W}sdtContent", f"{W}ins", f"{W}moveTo", f"{W}customXml", f"{W}smartTag"):
            yield from _children(child, name)


def _outer(node: Any, tag: str) -> Iterator[Any]:
    """Descendants of that tag that lie in no other of them, nor in a fallback for old programs."""
    for child in node:
        if child.tag == tag:
            yield child
        elif child.tag not in _DROPPED:
            yield from _outer(child, tag)


def _first_row_is_header(rows: list[list[Cell]]) -> bool:
    """Filled with words while a later row has a number, or all of its cells are short and different."""
    first = [cell.text for cell in rows[0]]
    if not all(first) or any(text[:1].isdigit() for text in first) or len(set(first)) < len(first):
        return False
    return max(map(len, first)) <= 60
