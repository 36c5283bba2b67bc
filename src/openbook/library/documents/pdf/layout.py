"""Reading order of a page, and its paragraphs.

Order: rows from the top; where at least three rows in a column share a vertical gutter with running text on both
sides, the left side is read before the right one. Short texts side by side (cells, labels) are read row by row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from openbook.library.documents.build import Line
from openbook.library.documents.model import BlockKind
from openbook.library.documents.pdf.lines import TextLine

_MIN_GUTTER = 8.0  # points
_MIN_COLUMN_ROWS = 3
_MIN_COLUMN_TEXT = 20.0
"""Mean width of a column's lines in characters (a Chinese one counts twice) from which they are running text."""
_BULLET = re.compile(r"(?:[-•●○▪◦■□·–*]|\(?\d{1,3}[.)、]|\(?[a-zA-Z][.)]|[（(][一二三四五六七八九十\d]+[)）])\s*\S")
_SENTENCE_END = (".", "!", "?", ":", ";", "。", "！", "？", "：", "；", "”", '"', ")")

Interval = tuple[float, float]


class Piece(NamedTuple):
    """A block of a page: its kind, heading level and lines."""

    kind: BlockKind
    level: int
    lines: tuple[Line, ...]


def reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """`lines` as a person reads them; lines of one row stay neighbours."""
    rows = _rows(lines)
    ordered: list[TextLine] = []
    at = 0
    while at < len(rows):
        end, gutter = _band(rows, at)
        if gutter is None:
            ordered += rows[at]
            at += 1
            continue
        inside = [line for row in rows[at:end] for line in row]
        middle = (gutter[0] + gutter[1]) / 2
        ordered += reading_order([line for line in inside if line.box[2] <= middle])
        ordered += reading_order([line for line in inside if line.box[2] > middle])
        at = end
    return ordered


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Lines that overlap vertically by more than half, from the left; rows from the top."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda each: (each.box[1] + each.box[3]) / 2):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and rows[-1][0].box[1] < middle < rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda each: each.box[0]) for row in rows]


def _band(rows: Sequence[Sequence[TextLine]], at: int) -> tuple[int, Interval | None]:
    """The end of the longest run of rows from `at` that leave a gutter free, and the gutter; None if it is no column."""
    free: list[Interval] = [(float("-inf"), float("inf"))]
    end = at
    while end < len(rows):
        narrowed = _common(free, _gaps(rows[end]))
        inner = [gap for gap in narrowed if gap[1] - gap[0] >= _MIN_GUTTER]
        if not any(gap[0] > float("-inf") or gap[1] < float("inf") for gap in inner):
            break
        if end > at and not _two_sided(rows[at : end + 1], inner) and _two_sided(rows[at:end], free):
            break
        free = inner
        end += 1
    inside = [line for row in rows[at:end] for line in row]
    for gap in sorted(free, key=lambda each: each[0] - each[1]):
        left = [line for line in inside if line.box[2] <= gap[0] + 0.1]
        right = [line for line in inside if line.box[0] >= gap[1] - 0.1]
        if _is_text(left) and _is_text(right):
            return end, (gap[0], gap[1])
    return at + 1, None


def _two_sided(rows: Sequence[Sequence[TextLine]], gaps: Iterable[Interval]) -> bool:
    boxes = [line.box for row in rows for line in row]
    return any(
        any(box[2] <= gap[0] + 0.1 for box in boxes) and any(box[0] >= gap[1] - 0.1 for box in boxes) for gap in gaps
    )


def _gaps(row: Sequence[TextLine]) -> list[Interval]:
    """The free stretches of a row, the outer margins included."""
    gaps: list[Interval] = []
    edge = float("-inf")
    for line in row:
        if line.box[0] > edge:
            gaps.append((edge, line.box[0]))
        edge = max(edge, line.box[2])
    return [*gaps, (edge, float("inf"))]


def _common(a: Iterable[Interval], b: Sequence[Interval]) -> list[Interval]:
    return [(max(x[0], y[0]), min(x[1], y[1])) for x in a for y in b if min(x[1], y[1]) > max(x[0], y[0])]


def _is_text(lines: Sequence[TextLine]) -> bool:
    if len(lines) < _MIN_COLUMN_ROWS:
        return False
    widths = [len(line.text) + sum("\u2e80" <= c <= "\uffef" for c in line.text) for line in lines]
    return sum(widths) / len(widths) >= _MIN_COLUMN_TEXT


def body_size(pages: Iterable[Sequence[TextLine]]) -> float:
    """The size that most characters of the document have, in points."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[round(line.size, 1)] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def paragraphs(lines: Sequence[TextLine], page: int, body: float, heading_sizes: Sequence[float]) -> list[Piece]:
    """Blocks of lines that are in reading order. Lines of a paragraph are joined, with a hyphen at the break undone."""
    pieces: list[list[TextLine]] = []
    for line in lines:
        if pieces and _continues(pieces[-1], line, body):
            pieces[-1].append(line)
        else:
            pieces.append([line])
    return [_piece(piece, page, body, heading_sizes) for piece in pieces]


def _continues(piece: Sequence[TextLine], line: TextLine, body: float) -> bool:
    last = piece[-1]
    height = max(last.size, line.size, 1.0)
    if last.box[1] < (line.box[1] + line.box[3]) / 2 < last.box[3]:
        return True  # the same row
    gap = line.box[1] - last.box[3]
    if gap > 0.75 * height or gap < -0.6 * height:
        return False
    if abs(line.size - last.size) > 0.12 * height or (line.is_bold != last.is_bold and last.size == line.size):
        return False
    if _BULLET.match(line.text) and not _is_heading_size(line, body):
        return False
    right = max(each.box[2] for each in piece)
    indented = line.box[0] - min(each.box[0] for each in piece[-3:])
    if indented > 1.2 * height and len(piece) > 1 and not _BULLET.match(piece[0].text):
        return False
    wide = right - piece[0].box[0]
    short = right - last.box[2] > 0.2 * wide and len(piece) > 1
    ended = last.text.endswith(_SENTENCE_END)
    # A single short line that ends a sentence is a paragraph: its width against the next line tells.
    shorter = line.box[2] - last.box[2] > 0.25 * max(line.box[2] - line.box[0], 1.0)
    return not (ended and (short or shorter))


def _is_heading_size(line: TextLine, body: float) -> bool:
    return line.size > 1.12 * body


def _piece(lines: Sequence[TextLine], page: int, body: float, heading_sizes: Sequence[float]) -> Piece:
    joined = tuple(_joined(lines, page))
    text = "".join(line.text for line in joined)
    if len(text) <= 200 and any(c.isalpha() for c in text):
        size = round(max(line.size for line in lines), 1)
        if _is_heading_size(lines[0], body) and size in heading_sizes:
            return Piece("heading", min(6, heading_sizes.index(size) + 1), joined)
        bold = (
            all(line.is_bold for line in lines)
            and len(lines) <= 2
            and not text.endswith((".", "。", ",", "，", ":", "："))
        )
        if bold and len(text) <= 80 and lines[0].size >= 0.98 * body:
            return Piece("heading", min(6, len(heading_sizes) + 1), joined)
    kind: BlockKind = "list" if _BULLET.match(text) and text[0] in "-•●○▪◦■□·–*" else "paragraph"
    return Piece(kind, 0, joined)


def _joined(lines: Sequence[TextLine], page: int) -> Iterable[Line]:
    for number, line in enumerate(lines):
        text, glue = line.text.strip(), " "
        following = lines[number + 1] if number + 1 < len(lines) else None
        if following is not None:
            after = following.text.lstrip()[:1]
            same_row = line.box[1] < (following.box[1] + following.box[3]) / 2 < line.box[3]
            if text.endswith("-") and len(text) > 2 and text[-2].isalpha() and after.islower() and not same_row:
                text, glue = text[:-1], ""
            elif not same_row and "\u2e80" <= text[-1:] <= "\uffef" and "\u2e80" <= after <= "\uffef":
                glue = ""
        if text:
            yield Line(text, page, line.box, glue)


def heading_sizes(pages: Iterable[Sequence[TextLine]], body: float) -> list[float]:
    """The sizes of headings, largest first, at most five."""
    sizes = {round(line.size, 1) for lines in pages for line in lines if _is_heading_size(line, body)}
    return sorted(sizes, reverse=True)[:5]
