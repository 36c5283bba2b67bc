"""Rows that say the same: to the letter, or nearly, told by MinHash over runs of words.

Source: Broder 1997, On the resemblance and containment of documents; banding: Leskovec, Rajaraman and Ullman, Mining of Massive
Datasets, section 3.4. Candidates are then compared by their true resemblance.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openbook.training.data.reading import Placed
from openbook.training.data.row import Question, as_text
from openbook.training.data.words import grams, words

SHINGLE_WORDS = 5
NEAR = 0.8
"""Share of all runs of two rows that they have in common, from which on they are near duplicates."""
_BANDS, _DEEP = 20, 5
"""A pair at `NEAR` is missed with (1 - .8^5)^20 = .0004."""
_PRIME = (1 << 32) + 15
"""Above all 32-bit hashes, and small enough that a product of two numbers below it is exact in 64 bits."""
_NAMED = 5


@dataclass
class Duplicates:
    """`exact`, `near`: rows for which an earlier one is the same, or nearly. `pairs`: the first of both, by place."""

    exact: int = 0
    near: int = 0
    pairs: list[tuple[str, str]] = field(default_factory=list)


def duplicates(rows: Iterable[Placed]) -> Duplicates:
    """Questions about one passage are compared by what they ask."""
    found = Duplicates()
    texts: dict[str, str] = {}
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    kept: list[tuple[str, NDArray[np.uint32]]] = []
    draw = np.random.Generator(np.random.Philox(key=2**32 - 5))
    factors = draw.integers(1, 1 << 32, (2, _BANDS * _DEEP), dtype=np.uint64)
    for place, row in rows:
        text = row.question if isinstance(row, Question) else as_text(row)
        own = words(text)
        same = (" ".join(own) or text) + (f"\n{row.context}" if isinstance(row, Question) else "")
        if same in texts:
            found.exact += 1
            _name(found, texts[same], place)
            continue
        texts[same] = place
        shingles = np.unique(np.array([zlib.crc32(one.encode()) for one in grams(own, SHINGLE_WORDS)], np.uint32))
        if not len(shingles):
            continue
        bands = _bands(shingles, factors)
        others = sorted({one for band in bands for one in buckets[band]})
        near = next((other for other in others if _resemblance(shingles, kept[other][1]) >= NEAR), None)
        if near is not None:
            found.near += 1
            _name(found, kept[near][0], place)
        for band in bands:
            buckets[band].append(len(kept))
        kept.append((place, shingles))
    return found


def _bands(shingles: NDArray[np.uint32], factors: NDArray[np.uint64]) -> list[tuple[int, bytes]]:
    """The least of each of many hashes of the shingles, in groups."""
    hashed = (factors[0][:, None] * shingles.astype(np.uint64) + factors[1][:, None]) % np.uint64(_PRIME)  # (H, S)
    least = hashed.min(axis=1)
    return [(band, least[band * _DEEP : (band + 1) * _DEEP].tobytes()) for band in range(_BANDS)]


def _resemblance(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def _name(found: Duplicates, first: str, second: str) -> None:
    if len(found.pairs) < _NAMED:
        found.pairs.append((first, second))
