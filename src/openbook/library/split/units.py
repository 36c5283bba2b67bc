"""The units of a section: what a splitter puts together. A block is one unit, or several where it is too long for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from openbook.library.documents.model import Block
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Section
from openbook.library.split.pieces import fitting_pieces
from openbook.library.split.sentences import Span, sentence_spans
from openbook.library.split.settings import SplitSettings

HEADER_CHARACTERS = 600
"""The most of a table's header that is repeated before each of its chunks."""

Cutter = Callable[[str, Block, int, TokenMeasure], list[Span]]
"""Cuts a block into spans of at most so many tokens each."""


class Unit(NamedTuple):
    """`number` counts the pieces of a block that was cut, from 0; `alone`: a piece of a long table after its first,
    which is never put behind something else, so that its header stands before its own rows only.
    """

    span: Span
    tokens: int
    block: Block
    number: int = 0
    alone: bool = False


class Cut(NamedTuple):
    """Where a chunk lies, and how many tokens it holds. It never reaches over a heading that has text before it."""

    span: Span
    tokens: int


def section_units(
    text: str, section: Section, settings: SplitSettings, measure: TokenMeasure, cutter: Cutter = fitting_pieces
) -> Iterator[Unit]:
    """The units of a section in order, headings first. Each has at most `chunk_tokens`, less what will stand before it:
    the overlap, the headings (before the first block), the header of a table.
    """
    headings = sum(measure.count(block.start, block.end) for block in section.headings)
    for place, block in enumerate((*section.headings, *section.body)):
        before = headings if place == len(section.headings) else 0
        whole = measure.count(block.start, block.end)
        if whole + (before if before * 2 <= settings.chunk_tokens else 0) <= settings.chunk_tokens:
            yield Unit((block.start, block.end), whole, block)
            continue
        most = _room(block, before, settings, measure)
        for number, span in enumerate(cutter(text, block, most, measure)):
            yield Unit(span, measure.count(*span), block, number, block.kind == "table" and number > 0)


def _room(block: Block, before: int, settings: SplitSettings, measure: TokenMeasure) -> int:
    """Tokens of a piece of `block`: at least half of `chunk_tokens`, however much stands before it."""
    taken = before
    if block.kind == "table":
        header_end = min(block.header_end, block.start + HEADER_CHARACTERS)
        taken += measure.count(block.start, max(header_end, block.start))
        taken += measure.carried if block.start == measure.start else 0
    elif block.kind != "code":
        taken = max(taken, settings.overlap_tokens)
    return max(settings.chunk_tokens - taken, (settings.chunk_tokens + 1) // 2)


def with_overlap(text: str, unit: Unit, previous: Unit | None, settings: SplitSettings, measure: TokenMeasure) -> Span:
    """The span of a unit that begins a chunk, with whole sentences of the piece before it in the same block, up to
    `overlap_tokens`. Rows of tables and lines of code are not repeated.
    """
    start, end = unit.span
    if previous is None or not unit.number or not settings.overlap_tokens or unit.block.kind in ("table", "code"):
        return unit.span
    for sentence_start, _ in sentence_spans(text, previous.span[0], start):
        if sentence_start > previous.span[0] and measure.count(sentence_start, start) <= settings.overlap_tokens:
            return (sentence_start, end)
    return unit.span
