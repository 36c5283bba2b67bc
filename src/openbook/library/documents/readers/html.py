"""HTML: one walk over the tree that lexbor parsed; headings, paragraphs, lists, tables, code, picture texts.

Scripts, styles and hidden elements are no text. Menus, the page's own footer, cookie banners, share bars and skip links
(see `boilerplate`) are left out and counted in the receipt. Nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from openbook.library.documents.build import Builder, Cell, flat
from openbook.library.documents.encoding import decode
from openbook.library.documents.model import Document
from openbook.library.documents.readers.boilerplate import boilerplate, is_decoration
from openbook.library.documents.source import Source

_IGNORED_TAGS = (
    "script style noscript template svg head iframe object canvas select option datalist button input "
    "textarea audio video map meta link title base"
)
_IGNORED = frozenset(_IGNORED_TAGS.split())
_BREAKING_TAGS = (
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form "
    "header hgroup html legend main menu nav ol p section summary table tbody td tfoot th thead tr ul caption "
    "li hr"
)
_BREAKING = frozenset(_BREAKING_TAGS.split())
_MAX_INDENT = 8
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?\s*([\w-]+)", re.IGNORECASE)
_SPACE = re.compile(r"\s+")  # only a <br> breaks a line
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def read(source: Source) -> Document:
    builder = Builder("html")
    text, builder.encoding, uncertain = _text(source.data)
    if uncertain:
        builder.note(uncertain)
    title = add_html(builder, text, page=True)
    return builder.document(title, otherwise=source.stem)


def add_html(builder: Builder, text: str, *, page: bool = False, part: str | None = None) -> str:
    """Adds the blocks of a page or fragment to `builder` and returns the page's <title>."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text)
    title = tree.css_first("title")
    if tree.body is not None:
        _Walk(builder, page, part).run(tree.body)
    return flat(title.text()) if title is not None and page else ""


def _text(data: bytes) -> tuple[str, str, str]:
    """(text, encoding, doubt). The declared charset is believed when the bytes agree with it, else it is detected."""
    declared = _CHARSET.search(data[:4096])
    if declared is not None:
        name = {"gb2312": "gb18030", "gbk": "gb18030"}.get(declared.group(1).decode().lower()) or declared.group(
            1
        ).decode()
        try:
            return data.decode(name), name, ""
        except (UnicodeDecodeError, LookupError):
            pass
    decoded = decode(data)
    return decoded.text, decoded.encoding, decoded.uncertain


class _Walk:
    """Collects inline text until an element that breaks the flow begins or ends."""

    def __init__(self, builder: Builder, page: bool, part: str | None) -> None:
        self.builder, self.page, self.part = builder, page, part
        self.inline: list[str] = []
        self.items: list[str] = []
        self.lists: list[list[int | None]] = []
        """Open lists: the number of the next item, None in a bulleted one."""
        self.level = 0
        self.marker = ""
        self.left_out: dict[str, int] = {}
        self.is_picture = True
        """Whether all inline text so far is that of pictures."""

    def run(self, root: Any) -> None:
        for node, entering in _events(root, self._skip):
            if entering:
                self._enter(node)
            else:
                self._leave(node)
        self._flush()
        self._end_list()
        if menus := self.left_out.pop("menu", 0):
            self.builder.note(f"menus and page footers left out: {menus}")
        for kind, count in sorted(self.left_out.items()):
            self.builder.note(f"{kind}s left out: {count}")

    def _skip(self, node: Any) -> bool:
        """Elements whose inside is not walked; tables, code and pictures are taken here as a whole."""
        tag = node.tag
        if tag in _IGNORED:
            return True
        if tag in ("-text", "_comment", "-comment", "br", "img"):
            return False
        attributes = node.attributes
        if "hidden" in attributes or (attributes.get("aria-hidden") == "true" and tag not in ("i", "span", "math")):
            return True
        style = attributes.get("style")
        if style and _HIDDEN.search(style):
            return True
        if self.page and (kind := boilerplate(node, tag, attributes)) is not None:
            self.left_out[kind] = self.left_out.get(kind, 0) + 1
            if kind != "skip link":
                self._flush()
            return True
        if tag == "table" and self._is_data_table(node):
            self._flush()
            self._end_list()
            self._table(node)
            return True
        if tag == "pre":
            self._flush()
            self._end_list()
            self.builder.add("code", node.text(), part=self.part)
            return True
        return False

    def _enter(self, node: Any) -> None:
        tag = node.tag
        if tag == "-text":
            text = _SPACE.sub(" ", node.text_content or "")
            self.inline.append(text)
            self.is_picture = self.is_picture and not text.strip()
        elif tag == "br":
            self.inline.append("\n")
        elif tag == "img":
            self._figure(node.attributes)
        elif tag in _HEADINGS:
            self._flush()
            self._end_list()
            self.level = _HEADINGS[tag]
        elif tag in _BREAKING:
            self._flush()
            if tag in ("ul", "ol", "menu"):
                self.lists.append([1 if tag == "ol" else None])
            elif tag == "li":
                self.marker = self._next_marker()

    def _leave(self, node: Any) -> None:
        tag = node.tag
        if tag in _HEADINGS or tag in _BREAKING:
            self._flush()
            if tag in _HEADINGS:
                self.level = 0
            if tag in ("ul", "ol", "menu") and self.lists:
                self.lists.pop()
                if not self.lists:
                    self._end_list()
            if tag == "li":
                self.marker = ""

    def _next_marker(self) -> str:
        if not self.lists:
            return "- "
        number = self.lists[-1][0]
        indent = "  " * min(len(self.lists) - 1, _MAX_INDENT)
        if number is None:
            return f"{indent}- "
        self.lists[-1][0] = number + 1
        return f"{indent}{number}. "

    def _flush(self) -> None:
        text = "\n".join(filter(None, (flat(line) for line in "".join(self.inline).split("\n"))))
        is_picture, self.is_picture = self.is_picture, True
        self.inline = []
        if not text:
            return
        if self.level:
            self.builder.add("heading", flat(text).strip("\u200b\ufeff#¶"), level=self.level, part=self.part)
        elif self.lists or self.marker:
            self.items.append((self.marker or "  " * min(len(self.lists), _MAX_INDENT)) + text)
            self.marker = "" if self.lists else self.marker
        else:
            self._end_list()
            self.builder.add("figure" if is_picture else "paragraph", text, part=self.part)

    def _end_list(self) -> None:
        if self.items:
            self.builder.add("list", "\n".join(self.items), part=self.part)
            self.items = []

    def _figure(self, attributes: dict[str, str | None]) -> None:
        """The text of a picture, where it says something that does not stand beside it."""
        alt = flat(attributes.get("alt") or "")
        if alt and not is_decoration(attributes, alt) and alt not in "".join(self.inline):
            self.inline.append(f" {alt} ")

    def _is_data_table(self, node: Any) -> bool:
        return not node.css("table table") and any(len(row.css("td, th")) > 1 for row in node.css("tr"))

    def _table(self, node: Any) -> None:
        caption = node.css_first("caption")
        if caption is not None:
            self.builder.add("paragraph", flat(caption.text(separator=" ")), part=self.part)
        rows, header_rows = table_rows(node)
        self.builder.table(rows, header_rows=header_rows, part=self.part)


def table_rows(table: Any) -> tuple[list[list[Cell]], int]:
    """The cells of a <table>, rowspans repeated in every row, and how many leading rows are its header."""
    rows: list[list[Cell]] = []
    hanging: dict[int, tuple[int, Cell]] = {}
    header_rows, in_header = 0, True
    for number, row in enumerate(table.css("tr"), start=1):
        cells: list[Cell] = []
        nodes = [cell for cell in row.iter() if cell.tag in ("td", "th")]
        for cell in nodes:
            _hang(cells, hanging)
            text = flat(cell.text(separator=" "))
            made = Cell(text, f"R{number}C{len(cells) + 1}")
            down, across = _span(cell, "rowspan"), _span(cell, "colspan")
            for offset in range(across):
                shown = made if offset == 0 else Cell("", made.ref)
                if down > 1:
                    hanging[len(cells)] = (down - 1, shown)
                cells.append(shown)
        _hang(cells, hanging)
        rows.append(cells)
        parent = row.parent
        is_head = (parent is not None and parent.tag == "thead") or (
            bool(nodes) and all(cell.tag == "th" for cell in nodes)
        )
        in_header = in_header and is_head
        header_rows += in_header
    return rows, header_rows if header_rows < len(rows) else 0


def _hang(cells: list[Cell], hanging: dict[int, tuple[int, Cell]]) -> None:
    """Fills the columns that cells of rows above still cover."""
    while len(cells) in hanging:
        left, cell = hanging.pop(len(cells))
        if left > 1:
            hanging[len(cells)] = (left - 1, cell)
        cells.append(cell)


def _span(cell: Any, name: str) -> int:
    value = cell.attributes.get(name) or "1"
    return max(1, min(int(value), 200)) if value.isdecimal() else 1


def _events(root: Any, skip: Callable[[Any], bool]) -> Iterator[tuple[Any, bool]]:
    """(node, True) where an element begins and (node, False) where it ends; no recursion, so any depth is safe.

    An element for which `skip` is true is passed over with all that is in it.
    """
    open_nodes: list[Any] = []
    node = root.child
    while node is not None or open_nodes:
        if node is None:
            node = open_nodes.pop()
            yield node, False
            node = node.next
        elif skip(node):
            node = node.next
        else:
            yield node, True
            if (child := node.child) is not None:
                open_nodes.append(node)
                node = child
            else:
                yield node, False
                node = node.next
