"""Passages from ranked chunks: what says the same word for word is folded, neighbours become one passage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openbook.library.catalogue.rows import ChunkRow, DocumentRow

MOST_CHUNKS = 3
"""Chunks that may grow together: a passage stays something that can be read and cited."""
_GAP = 4
"""Code points that may lie between neighbours: blocks are parted by line breaks only"""
_BREAKS = re.compile(r"[ \u00a0\u3000\r\n]+")
_CELL_MARK = re.compile(r"[\t|]")


@dataclass(frozen=True)
class Passage:
    """`start:end` of `best.document_id`'s text; `best` is its highest chunk, `page` that of its first.

    `also_in`: paths of other documents that hold the same passage. `chunk_ids`: what it is made of, in text order.
    """

    best: ChunkRow
    start: int
    end: int
    page: int | None
    also_in: tuple[str, ...]
    chunk_ids: tuple[int, ...]


def fold_passages(ranked: Sequence[ChunkRow], documents: Mapping[int, DocumentRow]) -> list[Passage]:
    """The passages of `ranked` chunks (best first), in the order of their best chunks."""
    groups: list[list[ChunkRow]] = []
    originals: dict[tuple[object, ...], tuple[int, ChunkRow]] = {}
    copies: dict[int, list[ChunkRow]] = {}
    for chunk in ranked:
        key = same_text_key(chunk, documents[chunk.document_id])
        if key in originals:
            copies.setdefault(originals[key][0], []).append(chunk)
            continue
        neighbour = next((i for i, group in enumerate(groups) if _adjoins(group, chunk)), None)
        if neighbour is None:
            neighbour = len(groups)
            groups.append([])
        groups[neighbour].append(chunk)
        originals[key] = (neighbour, chunk)
    return [_passage(group, copies.get(i, []), documents) for i, group in enumerate(groups)]


def same_text_key(chunk: ChunkRow, document: DocumentRow) -> tuple[object, ...]:
    """Equal for chunks that are true duplicates: same heading path and same text up to line breaks and spaces.

    Case, digits, signs and width are compared as they are: a passage that differs in a number, a unit or a name is
    another passage. Rows of a table mean what their header says, which may lie outside the chunk: they are duplicates
    only within documents of equal text.
    """
    text = _BREAKS.sub(" ", unicodedata.normalize("NFC", chunk.text)).strip()
    table = document.text_sha256 if _CELL_MARK.search(text) else ""
    return (chunk.heading, text, table)


def _adjoins(group: Sequence[ChunkRow], chunk: ChunkRow) -> bool:
    """Whether `chunk` touches or overlaps the span of `group`, which has room and stands under the same headings: a
    passage has one heading path, and what is cited from it must stand there.
    """
    if group[0].document_id != chunk.document_id or len(group) >= MOST_CHUNKS:
        return False
    if group[0].heading != chunk.heading:
        return False
    start, end = min(row.start for row in group), max(row.end for row in group)
    return start - _GAP <= chunk.end and chunk.start <= end + _GAP


def _passage(group: Sequence[ChunkRow], copies: Sequence[ChunkRow], documents: Mapping[int, DocumentRow]) -> Passage:
    best = group[0]
    in_order = sorted(group, key=lambda row: (row.start, row.end))
    others = dict.fromkeys(
        path for copy in copies if copy.document_id != best.document_id for path in documents[copy.document_id].paths
    )
    return Passage(
        best=best,
        start=in_order[0].start,
        end=max(row.end for row in group),
        page=in_order[0].page,
        also_in=tuple(others),
        chunk_ids=tuple(row.id for row in in_order),
    )
