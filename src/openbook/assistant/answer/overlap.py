"""How a question and a text overlap in words: what they share, in which order, and how close together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from openbook.assistant.answer.candidates import Unit
from openbook.assistant.answer.question import Question, grams
from openbook.library.lexical.tokenize import terms


@dataclass(frozen=True)
class Overlap:
    found: set[str]
    coverage: float
    pairs: float
    names: float
    closeness: float
    """Shared terms over the length of the stretch that holds them"""
    fresh: float
    """Terms that the question lacks, on a scale of logarithms"""
    in_order: float
    """The share of the question's pieces that come in the same order"""
    trigrams: float
    left: float
    right: float
    """Shares of what stands beside the question word"""
    longest: float
    """The longest unbroken run of the question's pieces, as a share of them"""

    @classmethod
    def of(cls, question: Question, unit: Unit, run: tuple[str, ...]) -> Overlap:
        found = set(unit.ordered).intersection(question.terms)
        places = [place for place, term in enumerate(unit.ordered) if term in found]
        stretch = places[-1] - places[0] + 1 if places else 1
        shared = question.pairs.intersection(pairwise(unit.ordered)) if found else frozenset()
        fresh = len(set(unit.ordered)) - len(found)
        beside = grams(run, question.language)
        wanted = set(zip(question.order, question.order[1:], question.order[2:], strict=False))
        return cls(
            found,
            question.coverage(found),
            len(shared) / max(1, len(question.pairs)),
            names_share(question, found),
            len(found) / max(stretch, len(found), 1) if len(found) > 1 else 0.0,
            float(np.log1p(fresh)) / 4,
            common_order(question.order, run) / max(1, len(question.order)),
            len(wanted.intersection(zip(run, run[1:], run[2:], strict=False))) / max(1, len(wanted)),
            len(question.left & beside) / max(1, len(question.left)),
            len(question.right & beside) / max(1, len(question.right)),
            longest_run(question.order, run) / max(1, len(question.order)),
        )


@dataclass(frozen=True)
class Passage:
    units: list[int]
    coverage: float
    pairs: float
    names: float
    longest: float
    rare: float

    @classmethod
    def of(
        cls, question: Question, places: list[int], units: Sequence[Unit], runs: Sequence[tuple[str, ...]]
    ) -> Passage:
        found = {term for place in places for term in units[place].ordered}
        found |= {term for context in {units[place].context for place in places} for term in terms(context)}
        ordered = [term for place in places for term in units[place].ordered]
        shared = question.pairs.intersection(pairwise(ordered))
        pairs = len(shared) / max(1, len(question.pairs))
        whole = [piece for place in places for piece in runs[place]]
        longest = longest_run(question.order, whole) / max(1, len(question.order))
        rare = question.rare_coverage(found)
        return cls(places, question.coverage(found), pairs, names_share(question, found), longest, rare)


def names_share(question: Question, found: set[str]) -> float:
    """The share of the question's names and numbers among `found`; 1 when it has none."""
    total = float(question.shares[question.is_name].sum())
    if total == 0:
        return 1.0
    named = zip(question.terms, question.shares.tolist(), question.is_name.tolist(), strict=True)
    held = sum(share for term, share, is_name in named if is_name and term in found)
    return float(held) / total


def common_order(one: Sequence[str], two: Sequence[str]) -> int:
    """The length of the longest common subsequence, a machine word of rows at a time.

    Source: H. Hyyrö, "Bit-parallel LCS-length computation revisited" (2004).
    """
    places: dict[str, int] = {}
    for place, piece in enumerate(one):
        places[piece] = places.get(piece, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for piece in two:
        matched = row & places.get(piece, 0)
        if matched:
            row = (row + matched | row - matched) & full
    return len(one) - row.bit_count()


def longest_run(one: Sequence[str], two: Sequence[str]) -> int:
    """The most neighbouring pieces of `one` that are neighbours in `two` as well."""
    text = "\0" + "\0".join(two) + "\0"
    start = best = 0
    for end in range(1, len(one) + 1):
        while start < end and "\0" + "\0".join(one[start:end]) + "\0" not in text:
            start += 1
        best = max(best, end - start)
    return best
