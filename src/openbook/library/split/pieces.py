"""Cuts what is too long for a chunk, at the best place there is: line, sentence, clause, word, and at last anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence

from openbook.library.documents.model import Block
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.sentences import Span, sentence_spans

_PROSE = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    None,
    re.compile(r"(?<=[,;:，、；：])\s*|\s+[-—–]\s+"),
    re.compile(r"\s+"),
)
"""None stands for the ends of sentences."""
_LINES = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"\s+"))


def fitting_pieces(text: str, block: Block, most: int, measure: TokenMeasure) -> list[Span]:
    """Spans that cover all of a block but white space, in order, each of at most `most` tokens where that is possible
    (a single token is never cut). Rows of a table and lines of code stay whole while they fit.
    """
    if measure.count(block.start, block.end) <= most:
        return [(block.start, block.end)]
    separators = _LINES if block.kind in ("table", "code") else _PROSE
    return _cut(text, (block.start, block.end), separators, most, measure)


def _cut(
    text: str, span: Span, separators: Sequence[re.Pattern[str] | None], most: int, measure: TokenMeasure
) -> list[Span]:
    """Parts between the coarsest separator, put together again while they fit; what is still too long is cut finer."""
    if measure.count(*span) <= most:
        return [span]
    if not separators:
        return _cut_anywhere(text, span, most, measure)
    found: list[Span] = []
    for part in _parts(text, span, separators[0]):
        if found and measure.count(found[-1][0], part[1]) <= most:
            found[-1] = (found[-1][0], part[1])
        elif measure.count(*part) <= most:
            found.append(part)
        else:
            found += _cut(text, part, separators[1:], most, measure)
    return found


def _parts(text: str, span: Span, separator: re.Pattern[str] | None) -> list[Span]:
    start, end = span
    if separator is None:
        return sentence_spans(text, start, end)
    parts: list[Span] = []
    for match in separator.finditer(text, start, end):
        if match.start() > start and match.end() > start:
            cut = match.start() if text[match.start() : match.end()].isspace() or match[0] == "" else match.end()
            parts.append((start, cut))
            start = match.end()
    parts.append((start, end))
    return [trimmed for part in parts if (trimmed := trim(text, part)) is not None]


def _cut_anywhere(text: str, span: Span, most: int, measure: TokenMeasure) -> list[Span]:
    found: list[Span] = []
    start, end = span
    while start < end:
        stop = measure.limit(start, most, end)
        if (piece := trim(text, (start, stop))) is not None:
            found.append(piece)
        start = stop
    return found


def trim(text: str, span: Span) -> Span | None:
    """The span without white space at its ends; None when nothing is left."""
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
