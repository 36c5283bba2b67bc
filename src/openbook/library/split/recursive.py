"""The recursive splitter: blocks are packed into chunks under their headings; what is too long is cut in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from openbook.library.documents.model import Document
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Outline, Section, sections
from openbook.library.split.sentences import Span
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import Cut, Unit, section_units, with_overlap


def split_recursive(document: Document, settings: SplitSettings, measure: TokenMeasure) -> Iterator[Cut]:
    """The cuts of a document in order: blocks that stand together, up to `chunk_tokens`; never over a heading."""
    for section in sections(document, Outline(document)):
        yield from _pack(document.text, section, settings, measure)


def _pack(text: str, section: Section, settings: SplitSettings, measure: TokenMeasure) -> Iterator[Cut]:
    """Packs the units of a section greedily."""
    current: Span | None = None
    used = 0
    previous: Unit | None = None
    for unit in section_units(text, section, settings, measure):
        if current is not None and used + unit.tokens <= settings.chunk_tokens and not unit.alone:
            current, used = (current[0], unit.span[1]), used + unit.tokens
        else:
            if current is not None:
                yield Cut(current, used)
            current = with_overlap(text, unit, previous, settings, measure)
            used = measure.count(*current)
        previous = unit
    if current is not None:
        yield Cut(current, used)
