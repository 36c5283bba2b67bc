"""The recursive splitter: blocks are packed into chunks under their headings; what is too long is cut in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from openbook.core.messages import TokenCounter
from openbook.library.documents.model import Block, Document
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Section, sections
from openbook.library.split.pieces import fitting_pieces
from openbook.library.split.sentences import Span, sentence_spans
from openbook.library.split.settings import SplitSettings


class Cut(NamedTuple):
    """Where a chunk lies: its section, its span of the text, and how many tokens the span holds."""

    section: Section
    span: Span
    tokens: int


def split_recursive(document: Document, settings: SplitSettings, tokens: TokenCounter) -> Iterator[Cut]:
    """The cuts of a document in order: blocks that stand together, up to `chunk_tokens`; never over a heading."""
    for section in sections(document):
        yield from pack(document.text, section, settings, tokens)


def pack(text: str, section: Section, settings: SplitSettings, tokens: TokenCounter) -> Iterator[Cut]:
    """Packs the pieces of a section greedily. Headings stay with what follows them; a long table is not mixed with its
    neighbours, so that its header stands before its own rows only.
    """
    most = settings.chunk_tokens
    current: Span | None = None
    used = 0
    for block in (*section.headings, *section.body):
        measure = TokenMeasure(text, block.start, block.end, tokens)
        pieces = fitting_pieces(text, block, most, measure)
        for number, (start, end) in enumerate(pieces):
            count = measure.count(start, end)
            alone = block.kind == "table" and len(pieces) > 1
            if current is not None and used + count <= most and not (alone and number > 0):
                current, used = (current[0], end), used + count
                continue
            if current is not None:
                yield Cut(section, current, used)
            start = _with_overlap(text, block, measure, start, number, settings)
            current, used = (start, end), measure.count(start, end)
    if current is not None:
        yield Cut(section, current, used)


def _with_overlap(
    text: str, block: Block, measure: TokenMeasure, start: int, number: int, settings: SplitSettings
) -> int:
    """Where a chunk begins that repeats whole sentences from before `start`, within the block, up to the overlap."""
    if number == 0 or settings.overlap_tokens == 0 or block.kind in ("table", "code"):
        return start
    for sentence_start, _ in sentence_spans(text, block.start, start):
        if measure.count(sentence_start, start) <= settings.overlap_tokens:
            return sentence_start
    return start
