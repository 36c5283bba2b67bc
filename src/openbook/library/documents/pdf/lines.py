"""The lines of a PDF page: characters from PDFium, joined where they stand side by side, with boxes in points.

Boxes are (left, top, right, bottom) from the top left corner of the page as it is shown (cropped and rotated).
"""

from __future__ import annotations

import ctypes
import unicodedata
from typing import Any, NamedTuple

from openbook.library.documents.model import Box

_COLUMN_GAP = 1.2
"""Gap, in line heights, at which two runs on one baseline are two lines (columns, cells). A space is about 0.25."""
_BOLD = 600


class TextLine(NamedTuple):
    """`size`: height of the characters' loose boxes in points, about 1.15 times the font size."""

    text: str
    box: Box
    size: float
    is_bold: bool


class PageText(NamedTuple):
    """`garbage`: the share of characters that decode to nothing readable."""

    lines: list[TextLine]
    garbage: float


def page_text(page: Any, text_page: Any) -> PageText:
    """All lines of a page, in the order of its content stream. `page`, `text_page`: of pypdfium2."""
    import pypdfium2.raw as pdfium

    count = text_page.count_chars()
    to_box = _Frame(page)
    run = _Run(to_box)
    rect = pdfium.FS_RECTF()
    pointer = ctypes.byref(rect)
    handle = text_page.raw
    get_unicode, get_box = pdfium.FPDFText_GetUnicode, pdfium.FPDFText_GetLooseCharBox
    high = 0
    bad = seen = 0
    for index in range(count):
        code = get_unicode(handle, index)
        if code in (13, 10):
            run.end()
            continue
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code, high = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00), 0
        if code in (2, 0xAD, 0xFFFE):  # PDFium's marks for a hyphen at the end of a line
            code = 0x2D
        char = chr(code)
        if char.isspace():
            run.space()
            continue
        seen += 1
        if _is_garbage(code, char):
            bad += 1
            if code < 32:
                continue
        if not get_box(handle, index, pointer):
            continue
        if run.begins():
            run.is_bold = pdfium.FPDFText_GetFontWeight(handle, index) >= _BOLD
        run.add(char, (rect.left, rect.bottom, rect.right, rect.top))
    run.end()
    return PageText(run.lines, bad / seen if seen else 0.0)


def _is_garbage(code: int, char: str) -> bool:
    """Control, private-use, unassigned and replacement characters: what fonts without a Unicode map decode to."""
    if 32 < code < 0x300:
        return 0x7F <= code < 0xA0
    return code == 0xFFFD or unicodedata.category(char) in ("Cc", "Co", "Cn", "Cs")


class _Frame:
    """From PDF user space (origin at the bottom left, before rotation) to the page as shown."""

    def __init__(self, page: Any) -> None:
        self.left, self.bottom, self.right, self.top = page.get_cropbox()
        self.rotation = page.get_rotation()

    def __call__(self, box: Box) -> Box:
        left, bottom, right, top = box
        match self.rotation:
            case 90:
                return bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
            case 180:
                return self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
            case 270:
                return self.top - top, self.right - right, self.top - bottom, self.right - left
            case _:
                return left - self.left, self.top - top, right - self.left, self.top - bottom


class _Run:
    """Collects characters until one stands too far from the last: on another baseline, or across a wide gap."""

    def __init__(self, to_box: _Frame) -> None:
        self.to_box = to_box
        self.lines: list[TextLine] = []
        self.chars: list[str] = []
        self.box: Box = (0.0, 0.0, 0.0, 0.0)
        self.last: Box = (0.0, 0.0, 0.0, 0.0)
        self.is_bold = False
        self.pending = False
        self.size = 0.0

    def begins(self) -> bool:
        return not self.chars

    def space(self) -> None:
        self.pending = bool(self.chars)

    def add(self, char: str, raw: Box) -> None:
        box = self.to_box(raw)
        if self.chars:
            height = max(self.last[3] - self.last[1], box[3] - box[1], 1.0)
            gap = box[0] - self.last[2]
            same_line = min(self.last[3], box[3]) - max(self.last[1], box[1]) > 0.3 * min(
                self.last[3] - self.last[1], box[3] - box[1]
            )
            if not same_line or gap > _COLUMN_GAP * height or gap < -2 * height:
                bold = self.is_bold
                self.end()
                self.is_bold = bold
            elif self.pending or (gap > 0.3 * height and not _is_wide(char)):
                self.chars.append(" ")
        self.pending = False
        self.chars.append(char)
        first = len(self.chars) == 1
        self.box = box if first else _union(self.box, box)
        self.size = box[3] - box[1] if first else max(self.size, box[3] - box[1])
        self.last = box

    def end(self) -> None:
        text = "".join(self.chars)
        if text:
            rounded = tuple(round(value, 1) for value in self.box)
            box = (rounded[0], rounded[1], rounded[2], rounded[3])
            self.lines.append(TextLine(text, box, self.size, self.is_bold))
        self.chars, self.pending, self.is_bold = [], False, False


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _is_wide(char: str) -> bool:
    return "\u2e80" <= char <= "\uffef"
