"""What can be quoted: the sentences and table rows of the passages found, each as a span of its document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apsw

from openbook.assistant.answer.articles import opens_article
from openbook.library.catalogue import reads
from openbook.library.documents.model import Block
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit
from openbook.library.split.sentences import Span, sentence_spans

MOST_WORDS = 100
"""A longer sentence is cut at a comma, or between words: a quotation stays something to read."""
MOST_CHARACTERS = 140
_WORD = re.compile(r"\S+")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_CLAUSE = re.compile(r"[,;:，、：；]\s*")


@dataclass(frozen=True)
class Unit:
    """A sentence or a row: `start:end` of the document of `hits[hit]`. Neighbours of one `group` may be quoted
    together. `header`: of a row, the span of its table's header. `context`: title, headings and header, as text.
    """

    hit: int
    group: int
    start: int
    end: int
    text: str
    ordered: tuple[str, ...]
    context: str
    header: Span | None = None

    @property
    def is_row(self) -> bool:
        return self.header is not None


def units_of(connection: apsw.Connection, hits: Sequence[Hit]) -> list[Unit]:
    """The units of all hits, in the order of the hits and of the text."""
    return [
        unit for place, hit in enumerate(hits) for unit in _of_hit(connection, place, hit, blocks_of(connection, hit))
    ]


def blocks_of(connection: apsw.Connection, hit: Hit) -> tuple[Block, ...]:
    """The blocks that the hit touches; of a large document no others are read."""
    return reads.document_blocks(connection, int(hit.document_id[1:]), hit.start, hit.end)


def neighbour(units: Sequence[Unit], place: int, step: int) -> int | None:
    """The unit beside, where it may be quoted together with this one."""
    other = place + step
    if not 0 <= other < len(units):
        return None
    one, two = units[place], units[other]
    return other if (one.hit, one.group) == (two.hit, two.group) else None


def _of_hit(connection: apsw.Connection, place: int, hit: Hit, blocks: Sequence[Block]) -> Iterator[Unit]:
    """A heading parts groups, and so do the number of an article and a table, whose rows are quoted one by one."""
    group, heading = 0, " ".join(hit.heading)
    for block in blocks:
        if block.end <= hit.start or block.start >= hit.end:
            continue
        if block.kind == "heading":
            group += 1
            heading = hit.text[max(block.start - hit.start, 0) : block.end - hit.start]
        elif block.kind == "table":
            header = (block.start, max(block.header_end, block.start))
            context = f"{hit.title} {heading} {_between(connection, hit, *header)}"
            for span in _lines(hit, max(header[1], hit.start), min(block.end, hit.end)):
                yield _unit(place, group + 1, hit, span, context, header)
            group += 2
        else:
            group += opens_article(hit.text[max(block.start - hit.start, 0) : block.end - hit.start])
            for span in _spans(hit, block):
                yield _unit(place, group, hit, span, f"{hit.title} {heading}", None)


def _unit(place: int, group: int, hit: Hit, span: Span, context: str, header: Span | None) -> Unit:
    text = hit.text[span[0] - hit.start : span[1] - hit.start]
    return Unit(place, group, *span, text, tuple(terms(text)), context, header)


def _between(connection: apsw.Connection, hit: Hit, start: int, end: int) -> str:
    """A slice of the document, from the hit where it holds it."""
    if start >= hit.start and end <= hit.end:
        return hit.text[start - hit.start : end - hit.start]
    return reads.text_between(connection, int(hit.document_id[1:]), start, end)


def _lines(hit: Hit, start: int, end: int) -> Iterator[Span]:
    for match in re.finditer(r"[^\n]*\S[^\n]*", hit.text[start - hit.start : end - hit.start]):
        text = match[0]
        left = len(text) - len(text.lstrip())
        yield start + match.start() + left, start + match.start() + len(text.rstrip())


def _spans(hit: Hit, block: Block) -> Iterator[Span]:
    """Sentences of a paragraph; in lists and code a line ends one too. None is too long to be quoted."""
    start, end = max(block.start, hit.start), min(block.end, hit.end)
    pieces = _lines(hit, start, end) if block.kind in ("list", "code") else iter([(start, end)])
    for first, last in pieces:
        for span in sentence_spans(hit.text, first - hit.start, last - hit.start):
            for cut in bounded(hit.text, *span):
                yield cut[0] + hit.start, cut[1] + hit.start


def bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """`start:end` whole, or cut into parts of at most `MOST_WORDS` words or `MOST_CHARACTERS` Han characters."""
    while (limit := _limit(text, start, end)) < end:
        clauses = [match.end() for match in _CLAUSE.finditer(text, start + (limit - start) // 2, limit)]
        gap = text.rfind(" ", start + (limit - start) // 2, limit)
        cut = clauses[-1] if clauses else gap + 1 if gap >= 0 else limit
        yield start, start + len(text[start:cut].rstrip())
        start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
    if start < end:
        yield start, end


def _limit(text: str, start: int, end: int) -> int:
    """Where a part that begins at `start` must end at the latest."""
    han = 0
    for words, match in enumerate(_WORD.finditer(text, start, end), 1):
        if words > MOST_WORDS:
            return match.start()
        signs = _HAN.findall(match[0])
        if signs and han + len(signs) > MOST_CHARACTERS:
            return min(match.start() + MOST_CHARACTERS - han, end) if han < MOST_CHARACTERS else match.start()
        han += len(signs)
        if not signs and match.end() - match.start() > 1_000:
            return match.start() + 1_000
    return end
