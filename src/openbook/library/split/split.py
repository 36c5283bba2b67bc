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
from openbook.library.split.outline import Section
from openbook.library.split.recursive import split_recursive
from openbook.library.split.semantic import split_semantic
from openbook.library.split.sentences import Span
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import HEADER_CHARACTERS, Cut


def split(
    document: Document, settings: SplitSettings, tokens: TokenCounter, scorer: Scorer | None = None
) -> list[Chunk]:
    """The chunks of a document in order. Every character but white space lies in at least one of them.

    `scorer` is what the semantic splitter asks whether two passages belong together; raises `UsageError` without one.
    """
    starts = [block.start for block in document.blocks]
    end = document.blocks[-1].end if document.blocks else 0
    measure = TokenMeasure(document.text, starts[0] if starts else 0, end, tokens)
    return [_chunk(document, starts, cut) for cut in _cuts(document, settings, measure, scorer)]


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


def _chunk(document: Document, starts: list[int], cut: Cut) -> Chunk:
    start, end = cut.span
    text = document.text[start:end]
    block = document.blocks[max(bisect_right(starts, start) - 1, 0)]
    return Chunk(
        start=start,
        end=end,
        index_text=index_prefix(document, cut.section, block, cut.span) + text,
        heading=cut.section.path,
        page=block.page,
        tokens=cut.tokens,
        language=detect_language(text),
    )


def index_prefix(document: Document, section: Section, block: Block, span: Span) -> str:
    """Title, heading path and table header, a line each, but what the slice itself begins with; "" when there is none."""
    start = span[0]
    own = {(heading.start, heading.end) for heading in section.headings if heading.start >= start}
    path = section.path[: len(section.path) - len(own)] if own else section.path
    lines = [document.title] if document.title and document.title not in section.path else []
    if path:
        lines.append(" > ".join(path))
    if block.kind == "table" and start < block.end and block.start < block.header_end <= start:
        lines.append(document.text[block.start : block.header_end].strip()[:HEADER_CHARACTERS])
    return "".join(f"{line}\n" for line in lines)
