"""The quotation that answers: one run of sentences or one table row, as a citation with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.answer import Citation
from openbook.assistant.answer.candidates import Unit, blocks_of
from openbook.assistant.answer.evidence import Evidence
from openbook.assistant.answer.question import shows_kind
from openbook.assistant.answer.select import best_window, softmax, trimmed
from openbook.core.messages import Embedder
from openbook.library.catalogue import reads
from openbook.library.documents.model import Anchor
from openbook.library.lexical.tokenize import terms
from openbook.library.retrieve.hit import Hit
from openbook.library.store import LibraryStore

SENTENCES = 3
"""The most sentences that are quoted unless the caller says otherwise."""
TRIMMED_BELOW = 0.004
"""A sentence at an end of the quotation that holds less than this of its probability is left out."""
_COLUMN = re.compile(r"([A-Z]+)\d+|R\d+C(\d+)")


@dataclass(frozen=True)
class Quotation:
    """`probability`: that the answer lies in it, if it lies in any sentence that was weighed."""

    citation: Citation
    probability: float


def quote(
    store: LibraryStore, evidence: Evidence, *, sentences: int = SENTENCES, least: float = TRIMMED_BELOW
) -> Quotation | None:
    """The best quotation of at most `sentences` sentences; None when the passages hold no sentence at all."""
    if not evidence.units:
        return None
    probabilities = softmax(evidence.weighed)
    window = trimmed(evidence.units, probabilities, best_window(evidence.units, probabilities, sentences), least)
    units = evidence.units[window.first : window.last + 1]
    hit = evidence.result.hits[units[0].hit]
    start, end = units[0].start, units[-1].end
    anchors = tuple(anchor for anchor in hit.anchors if anchor.start < end and anchor.end > start)
    header = ""
    if units[0].header is not None:
        header, anchors = _of_row(store, evidence, hit, units[0], anchors)
    citation = cited(hit, 1, start, end, anchors, header, page_at(store, hit, start, anchors))
    words = _words(evidence, window.first, window.last)
    return Quotation(replace(citation, words=words), window.probability)


def _words(evidence: Evidence, first: int, last: int) -> tuple[int, int] | None:
    """The words of these units that answer, by a reader that holds them for an answer."""
    if evidence.read is None:
        return None
    margins = evidence.read.margins[first : last + 1]
    best = int(np.argmax(margins))
    return evidence.read.spans[first + best] if margins[best] > 0 else None


def cited(
    hit: Hit, n: int, start: int, end: int, anchors: tuple[Anchor, ...], header: str, page: int | None
) -> Citation:
    """Citation `n` of `start:end`, which lies in the hit."""
    return Citation(
        n=n,
        id=hit.id,
        document_id=hit.document_id,
        path=hit.path,
        title=hit.title,
        page=page,
        heading=hit.heading,
        start=start,
        end=end,
        quote=hit.text[start - hit.start : end - hit.start],
        anchors=anchors,
        sha256=hit.sha256,
        modified=hit.modified,
        stale=hit.stale,
        table_header=header,
    )


def page_at(store: LibraryStore, hit: Hit, start: int, anchors: tuple[Anchor, ...]) -> int | None:
    """The page that the quotation begins on: of its first anchor, of the block around it, or of the passage."""
    page = next((anchor.page for anchor in anchors if anchor.page is not None), None)
    if page is not None or hit.page is None:
        return page
    with store.catalogue.read() as connection:
        blocks = blocks_of(connection, hit)
    return next((block.page for block in blocks if block.start <= start < block.end), hit.page)


def _of_row(
    store: LibraryStore, evidence: Evidence, hit: Hit, row: Unit, anchors: tuple[Anchor, ...]
) -> tuple[str, tuple[Anchor, ...]]:
    """The header's text, and the anchors of the row's cells with the one that answers first."""
    assert row.header is not None
    document = int(hit.document_id[1:])
    with store.catalogue.read() as connection:
        header = reads.text_between(connection, document, *row.header)
        heads = reads.anchors_between(connection, document, *row.header)
    titles = {_column(anchor): header[anchor.start - row.header[0] : anchor.end - row.header[0]] for anchor in heads}
    embedder = store.embedder() if evidence.similar.has_vectors else None
    scores = _cell_scores(evidence, hit, anchors, titles, embedder)
    first = [anchors[int(np.argmax(scores))]] if anchors else []
    return header, (*first, *(anchor for anchor in anchors if anchor not in first))


def _cell_scores(
    evidence: Evidence, hit: Hit, anchors: tuple[Anchor, ...], titles: dict[str, str], embedder: Embedder | None
) -> NDArray[np.float64]:
    """(A,) A cell answers when its column is what is asked for, while its own words are not in the question."""
    question = evidence.question
    heads = [titles.get(_column(anchor), "") for anchor in anchors]
    cells = [hit.text[max(anchor.start - hit.start, 0) : anchor.end - hit.start] for anchor in anchors]
    alike = np.zeros(len(heads))
    if embedder is not None and heads:
        vectors = embedder.embed([question.text, *heads], "passage")
        alike = (vectors[1:] @ vectors[0]).astype(np.float64)
    scores = [
        question.coverage(set(terms(head)))
        - question.coverage(set(terms(cell)))
        + 0.3 * (shows_kind(question, cell) is True)
        for head, cell in zip(heads, cells, strict=True)
    ]
    return np.array(scores) + alike


def _column(anchor: Anchor) -> str:
    """ "B" of "B7", "3" of "R2C3"."""
    match = _COLUMN.fullmatch(anchor.cell or "")
    return (match[1] or match[2]) if match else ""
