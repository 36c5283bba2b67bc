"""What the extractive reader says of the sentences that were found: in each the words that would answer, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit
from openbook.assistant.answer.scorer import fitted
from openbook.core.errors import ModelUnavailable
from openbook.library.embed.adapted import open_reader
from openbook.library.embed.default import check_default, default_directory
from openbook.library.retrieve.hit import Hit
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.reader import Reader
from openbook.lm.weights import shipped

MOST_MARGIN = 15.0
"""Margins beyond it say no more than it: a sentence that was not read has the lowest."""


class Read(NamedTuple):
    """Of each unit: margins (U,) of the best words in it, and those words as `start:end` of the document."""

    margins: NDArray[np.float64]
    spans: tuple[tuple[int, int], ...]


@cache
def shipped_reader() -> Reader | None:
    """The reader of the package over the default encoder; None where that is not installed or has other weights, where the
    processor would need torch for it (an import that takes longer than an answer), and where its weights for `ask` were not
    fitted. ModelUnavailable where the files of the package are broken.
    """
    base = default_directory()
    if base is None or why_not_int8() or "en-reader" not in fitted():
        return None
    try:
        check_default(base)
        adapter = shipped("reader-en")
    except ModelUnavailable:
        return None
    return open_reader(base, adapter, "int8")


def read_units(reader: Reader, question: str, hits: Sequence[Hit], units: Sequence[Unit]) -> Read:
    """Reads the passages that have units, once each."""
    places = sorted({unit.hit for unit in units})
    located = dict(zip(places, reader.locate([(question, hits[place].text) for place in places]), strict=True))
    margins, spans = np.empty(len(units)), list[tuple[int, int]]()
    for number, unit in enumerate(units):
        begin = hits[unit.hit].start
        best = located[unit.hit].best(unit.start - begin, unit.end - begin)
        margins[number] = np.clip(best.margin, -MOST_MARGIN, MOST_MARGIN)
        spans.append((begin + best.start, begin + best.end))
    return Read(margins, tuple(spans))
