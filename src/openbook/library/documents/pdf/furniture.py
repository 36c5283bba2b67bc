"""Running headers, footers and page numbers: lines near an edge that come again on other pages."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from openbook.library.documents.pdf.lines import TextLine

_EDGE = 0.12
"""Share of the page's height, at the top and at the bottom, in which furniture is looked for."""
_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(
    r"[-–—\s|·]*(?:page|seite|p\.|第)?\s*(\d{1,4}|[ivxlc]{1,6})\s*(?:页|頁)?(?:\s*(?:/|of|von|共|,)\s*\d{1,4}\s*(?:页|頁)?)?[-–—\s|·]*",
    re.IGNORECASE,
)


def split_furniture(
    pages: Sequence[Sequence[TextLine]], heights: Sequence[float]
) -> tuple[list[list[TextLine]], list[str]]:
    """Each page's lines without furniture, and what was taken out, in words for the receipt.

    A line is furniture when the same text, digits aside, stands at the same height near an edge of at least half of
    the pages (three pages of a long document: sections have headers of their own), or when it is the page's number.
    A document of one page has none.
    """
    if len(pages) < 2:
        return [list(lines) for lines in pages], []
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    numbers: dict[int, int] = {}
    for page, lines in enumerate(pages):
        for line in _edge_lines(lines, heights[page]):
            found[_key(line)].add(page)
            if (match := _NUMBER.fullmatch(line.text)) is not None and match.group(1).isdecimal():
                numbers.setdefault(page, int(match.group(1)))
    needed = 2 if len(pages) <= 4 else min(3 + len(pages) // 20, len(pages) // 2)
    running = {key for key, where in found.items() if len(where) >= needed}
    offsets = [number - page for page, number in numbers.items()]
    offset = max(set(offsets), key=offsets.count) if offsets else 0
    is_numbered = offsets.count(offset) >= max(2, len(pages) // 3)
    kept: list[list[TextLine]] = []
    removed: dict[str, int] = defaultdict(int)
    for page, lines in enumerate(pages):
        edges = {id(line) for line in _edge_lines(lines, heights[page])}
        keep: list[TextLine] = []
        for line in lines:
            if id(line) in edges and is_numbered and _is_number(line.text, page + offset):
                removed["page numbers"] += 1
            elif id(line) in edges and _key(line) in running:
                removed[f'running line "{_DIGITS.sub("#", line.text)[:80]}"'] += 1
            else:
                keep.append(line)
        kept.append(keep)
    return kept, [f"left out {what} on {count} of {len(pages)} pages" for what, count in sorted(removed.items())]


def _edge_lines(lines: Sequence[TextLine], height: float) -> list[TextLine]:
    return [line for line in lines if line.box[3] < _EDGE * height or line.box[1] > (1 - _EDGE) * height]


def _key(line: TextLine) -> tuple[str, int]:
    """Text without its digits, and the height on the page in steps of 8 points."""
    return _DIGITS.sub("#", line.text), round(line.box[1] / 8)


def _is_number(text: str, number: int) -> bool:
    match = _NUMBER.fullmatch(text)
    return match is not None and (match.group(1) == str(number) or not match.group(1).isdecimal())
