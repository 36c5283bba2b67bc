"""The discourse splitter: paragraphs that a rhetorical relation links are kept together, a nucleus with its satellites.

Sources: W. Mann, S. Thompson, "Rhetorical Structure Theory" (1988); J. Hobbs, "Coherence and Coreference" (1979). No
tree is built: what a splitter needs of it is whether a paragraph continues the one before (`relation.strength`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from openbook.library.documents.model import Block, Document
from openbook.library.split.group import PARTED, TIED, grouped
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Outline, Section, sections
from openbook.library.split.pieces import fitting_pieces
from openbook.library.split.relation import Paragraph, strength
from openbook.library.split.sentences import Span, sentence_spans
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import Cut, Unit, section_units

LINKED = 0.5
"""The strength from which on two paragraphs are kept together."""
_MANY_SENTENCES = 200
"""Blocks of more sentences are cut as the recursive splitter does: to weigh every pair would take too long."""


def split_discourse(document: Document, settings: SplitSettings, measure: TokenMeasure) -> Iterator[Cut]:
    """The cuts of a document in order. A heading is always a boundary, and stays with what follows it."""
    for section in sections(document, Outline(document)):
        units = list(section_units(document.text, section, settings, measure, cut_at_weakest))
        links = [_link(document.text, section, left, right) for left, right in pairwise(units)]
        yield from grouped(document.text, units, links, LINKED, settings, measure)


def _link(text: str, section: Section, left: Unit, right: Unit) -> float:
    if right.number or right.alone:
        return PARTED
    if left.block.kind == "heading":
        return TIED
    return strength(_paragraph(text, section, left), _paragraph(text, section, right))


def _paragraph(text: str, section: Section, unit: Unit) -> Paragraph:
    return Paragraph(text[unit.span[0] : unit.span[1]], unit.block.kind, section.path)


def cut_at_weakest(text: str, block: Block, most: int, measure: TokenMeasure) -> list[Span]:
    """Cuts a block of prose between the sentences that are linked most weakly; other blocks by line, as `fitting_pieces`
    does, and so a sentence that is itself too long.
    """
    sentences = sentence_spans(text, block.start, block.end)
    if block.kind in ("table", "code") or not 1 < len(sentences) <= _MANY_SENTENCES:
        return fitting_pieces(text, block, most, measure)
    found: list[Span] = []
    begin = 0
    while begin < len(sentences):
        if measure.count(*sentences[begin]) > most:
            found += fitting_pieces(text, Block(block.kind, *sentences[begin]), most, measure)
            begin += 1
            continue
        end = _piece_end(text, block, sentences, begin, most, measure)
        found.append((sentences[begin][0], sentences[end - 1][1]))
        begin = end
    return found


def _piece_end(text: str, block: Block, sentences: list[Span], begin: int, most: int, measure: TokenMeasure) -> int:
    """Where the piece that begins with sentence `begin` ends: all that is left, or the weakest link of its second half."""
    start = sentences[begin][0]
    end = begin + 1
    while end < len(sentences) and measure.count(start, sentences[end][1]) <= most:
        end += 1
    if end == len(sentences):
        return end
    places = [p for p in range(begin + 1, end + 1) if measure.count(start, sentences[p - 1][1]) * 2 >= most] or [end]

    def link(place: int) -> float:
        before = Paragraph(text[start : sentences[place - 1][1]], block.kind)
        return strength(before, Paragraph(text[sentences[place][0] : sentences[place][1]], block.kind))

    return min(reversed(places), key=link)
