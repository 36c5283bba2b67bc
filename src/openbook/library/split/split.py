"""From a document to its chunks: one of three splitters chosen by name, then the text each chunk is indexed under."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from openbook.core.errors import UsageError
from openbook.core.messages import Scorer, TokenCounter
from openbook.library.documents.model import Block, Document
from openbook.library.lexical.language import detect_language
from openbook.library.split.chunk import Chunk
from openbook.library.split.discourse import split_discourse
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Heading, Outline
from openbook.library.split.recursive import split_recursive
from openbook.library.split.semantic import split_semantic
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import HEADER_CHARACTERS, Cut

HEADING_CHARACTERS = 200
"""The most of each heading that is repeated before the chunks below it; a chunk's `heading` is whole."""


def split(
    document: Document, settings: SplitSettings, tokens: TokenCounter, scorer: Scorer | None = None
) -> list[Chunk]:
    """The chunks of a document in order. Every character but white space lies in at least one of them.

    `scorer` is what the semantic splitter asks whether two passages belong together; raises `UsageError` without one.
    """
    outline = Outline(document)
    starts = [block.start for block in document.blocks]
    end = document.blocks[-1].end if document.blocks else 0
    carried = document.opening.table_header[:HEADER_CHARACTERS]
    measure = TokenMeasure(document.text, starts[0] if starts else 0, end, tokens, carried)
    return [_chunk(document, outline, starts, cut) for cut in _cuts(document, settings, measure, scorer)]


def _cuts(document: Document, settings: SplitSettings, measure: TokenMeasure, scorer: Scorer | None) -> Iterator[Cut]:
    match settings.splitter:
        case "recursive":
            return split_recursive(document, settings, measure)
        case "discourse":
            return split_discourse(document, settings, measure)
        case "semantic":
            if scorer is None:
                raise UsageError(
                    "the semantic splitter needs a scorer, and none was given",
                    "give an embedder's similarity or a next-sentence head, or choose the splitter recursive or discourse",
                )
            return split_semantic(document, settings, measure, scorer)


def _chunk(document: Document, outline: Outline, starts: list[int], cut: Cut) -> Chunk:
    start, end = cut.span
    text = document.text[start:end]
    block = document.blocks[max(bisect_right(starts, start) - 1, 0)]
    trail = outline.before(end)
    return Chunk(
        start=start,
        end=end,
        index_text=_prefix(document, trail, block, start) + text,
        heading=tuple(heading.text for heading in trail),
        page=block.page,
        tokens=cut.tokens,
        language=detect_language(text),
    )


def _prefix(document: Document, trail: tuple[Heading, ...], block: Block, start: int) -> str:
    """Title, heading path and table header, a line each, but what the slice itself begins with; "" when there is none."""
    lines = [document.title] if document.title and all(heading.text != document.title for heading in trail) else []
    path = [heading.text[:HEADING_CHARACTERS] for heading in trail if heading.start < start]
    if path:
        lines.append(" > ".join(path))
    if block.kind == "table" and start < block.end and block.start < block.header_end <= start:
        lines.append(document.text[block.start : block.header_end].strip()[:HEADER_CHARACTERS])
    if document.opening.table_header and block == document.blocks[0] and start < block.end:
        lines.append(document.opening.table_header[:HEADER_CHARACTERS])
    return "".join(f"{line}\n" for line in lines)
