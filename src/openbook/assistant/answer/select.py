"""Which run of neighbouring sentences to quote: the one in which the answer most probably lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.candidates import Unit

MOST_WORDS = 115
MOST_HAN = 220


class Window(NamedTuple):
    """`units[first : last + 1]`, and the probability that the answer lies in it if it lies in any unit."""

    first: int
    last: int
    probability: float


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) -> (N,) adding up to 1."""
    exponentials = np.exp(scores - scores.max())
    shares: NDArray[np.float64] = exponentials / exponentials.sum()
    return shares


def best_window(units: Sequence[Unit], probabilities: NDArray[np.float64], sentences: int) -> Window:
    """The run of at most `sentences` units of one group with the highest sum; of equal ones the first.

    A row of a table is quoted alone. A run that grows too long is cut shorter, never below one unit.
    """
    best = Window(0, 0, -1.0)
    for first in range(len(units)):
        total = 0.0
        words = han = 0
        for last in range(first, min(first + sentences, len(units))):
            if last > first and (units[last].is_row or _key(units[last]) != _key(units[first])):
                break
            words += len(units[last].text.split())
            han += sum("\u4e00" <= sign <= "\u9fff" for sign in units[last].text)
            if last > first and (words > MOST_WORDS or han > MOST_HAN):
                break
            total += float(probabilities[last])
            if total > best.probability + 1e-12:
                best = Window(first, last, total)
    return best


def trimmed(units: Sequence[Unit], probabilities: NDArray[np.float64], window: Window, least: float) -> Window:
    """The window without sentences at its ends that hold less than `least` of its probability."""
    first, last = window.first, window.last
    while last > first and probabilities[last] < least * window.probability:
        last -= 1
    while last > first and probabilities[first] < least * window.probability:
        first += 1
    return Window(first, last, float(probabilities[first : last + 1].sum()))


def _key(unit: Unit) -> tuple[int, int]:
    return (unit.hit, unit.group)
