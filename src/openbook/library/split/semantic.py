"""The semantic splitter: neighbouring passages stay together while a scorer holds that the second continues the first.

The scorer is the embedder's similarity (`similarity.EmbedderSimilarity`) or the next-sentence head of a BERT
(`library.embed.pairs.NextSentence`). Sources: M. Hearst, "TextTiling" (1997); J. Devlin et al., "BERT" (2018), task 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from openbook.core.messages import Scorer
from openbook.library.documents.model import Block, Document
from openbook.library.split.group import PARTED, TIED, grouped
from openbook.library.split.measure import TokenMeasure
from openbook.library.split.outline import Outline, sections
from openbook.library.split.pieces import fitting_pieces
from openbook.library.split.sentences import Span
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import Cut, Unit, section_units

DEFAULT_THRESHOLD = 0.5
"""Of MiniLM's cosine: where the F1 of merges and of boundaries add up to most on the even lines of the English pairs
(tests/library/split/data). Other scorers need their own."""
_PARTS = 3
"""A block too long for one chunk is scored in passages of a third of a chunk."""
_BATCH_PAIRS = 2048


def split_semantic(document: Document, settings: SplitSettings, measure: TokenMeasure, scorer: Scorer) -> Iterator[Cut]:
    """The cuts of a document in order. All pairs of a document are scored in one call (2,048 at most)."""
    waiting: list[list[Unit]] = []
    pairs = 0
    for section in sections(document, Outline(document)):
        units = list(section_units(document.text, section, settings, measure, _passages))
        waiting.append(units)
        pairs += len(units) - 1
        if pairs >= _BATCH_PAIRS:
            yield from _cuts(document.text, waiting, settings, measure, scorer)
            waiting, pairs = [], 0
    yield from _cuts(document.text, waiting, settings, measure, scorer)


def _cuts(
    text: str, waiting: Sequence[Sequence[Unit]], settings: SplitSettings, measure: TokenMeasure, scorer: Scorer
) -> Iterator[Cut]:
    neighbours = [pair for units in waiting for pair in pairwise(units)]
    asked = [_fixed(left, right) is None for left, right in neighbours]
    pairs = [
        (_text(text, left), _text(text, right)) for (left, right), ask in zip(neighbours, asked, strict=True) if ask
    ]
    scores = iter(scorer.score(pairs).tolist() if pairs else ())
    links = iter([next(scores) if ask else _fixed(*pair) for pair, ask in zip(neighbours, asked, strict=True)])
    threshold = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
    for units in waiting:
        own = [link if (link := next(links)) is not None else PARTED for _ in units[1:]]
        yield from grouped(text, units, own, threshold, settings, measure)


def _fixed(left: Unit, right: Unit) -> float | None:
    """The link where there is nothing to ask: to a heading's text, and to the later pieces of a table."""
    if right.alone:
        return PARTED
    return TIED if left.block.kind == "heading" else None


def _text(text: str, unit: Unit) -> str:
    return text[unit.span[0] : unit.span[1]]


def _passages(text: str, block: Block, most: int, measure: TokenMeasure) -> list[Span]:
    """The passages of a block that is too long for one chunk."""
    if block.kind in ("table", "code"):
        return fitting_pieces(text, block, most, measure)
    return fitting_pieces(text, block, max(most // _PARTS, 1), measure)
