"""Puts neighbouring units together by how strongly they are linked: runs of links, cut at their weakest where too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from openbook.library.split.measure import TokenMeasure
from openbook.library.split.settings import SplitSettings
from openbook.library.split.units import Cut, Unit, with_overlap

TIED = 2.0
"""The link of a heading to what follows it: stronger than every score."""
PARTED = -1.0
"""The link between pieces that never stand in one chunk."""


def grouped(
    text: str,
    units: Sequence[Unit],
    links: Sequence[float],
    threshold: float,
    settings: SplitSettings,
    measure: TokenMeasure,
) -> Iterator[Cut]:
    """The cuts of a section: neighbours whose link is at least `threshold` are kept together while they fit.

    `links[i]` is that of units i and i + 1. Where a run of linked units is too long for one chunk, the chunk ends at
    its weakest link, the later one of equal ones, but not before a third of its tokens where that can be.
    """
    begin = 0
    while begin < len(units):
        first = with_overlap(text, units[begin], units[begin - 1] if begin else None, settings, measure)
        end = _end(units, links, begin, measure.count(*first), threshold, settings.chunk_tokens)
        span = (first[0], units[end - 1].span[1])
        yield Cut(span, measure.count(*span))
        begin = end


def _end(units: Sequence[Unit], links: Sequence[float], begin: int, used: int, threshold: float, most: int) -> int:
    """Where the chunk that begins with unit `begin`, of `used` tokens with its overlap, ends, exclusive."""
    weakest = 0
    for place in range(begin + 1, len(units)):
        link = links[place - 1]
        if link < threshold:
            return place
        full = used + units[place].tokens > most
        if (full or used * 3 >= most) and (not weakest or link <= links[weakest - 1]):
            weakest = place
        if full:
            return weakest
        used += units[place].tokens
    return len(units)
