"""Whether a sentence gives a name the amount that the passage gives it: "Oslo 190, Hamburg 145" does not bear out "Hamburg 190".

Only where the passage is explicit: a short stretch, or a row of a table, that holds the name and another amount of the
same kind, while no stretch holds the name and the amount of the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openbook.assistant.answer.facts import Quantity, names, quantities
from openbook.assistant.answer.mentions import is_chinese
from openbook.library.lexical.fold import fold, simplify

_CLAUSE = re.compile(r"(?<!\d)[,，](?!\d{3})|[;；:：。！？!?\n]|\.(?!\d)|\b(?:and|but|while)\b|而")
_STRETCH = re.compile(r"(?<!\d)[,，](?!\d{3})|[;；:：。！？!?\n]|\.(?!\d)")


class Mispaired(NamedTuple):
    """`name` has `given` in the sentence and `held` in the passage."""

    name: str
    given: Quantity
    held: Quantity


def mispaired(sentence: str, passage: str) -> Iterator[Mispaired]:
    """For each clause of `sentence` that gives one amount to one name: what the passage gives it instead."""
    stretches = [(simplify(fold(text)), quantities(text)) for text in _stretches(passage)]
    for clause in filter(None, _CLAUSE.split(sentence)):
        amounts, named = quantities(clause), [name for name in names(clause) if len(name) > 1]
        if len(amounts) != 1 or len(named) != 1:
            continue
        beside = [found for text, found in stretches if simplify(fold(named[0])) in text]
        other = _other(amounts[0], beside)
        if other is not None:
            yield Mispaired(named[0], amounts[0], other)


def _stretches(passage: str) -> list[str]:
    """The rows of tables whole, other lines cut at punctuation."""
    found: list[str] = []
    for line in passage.splitlines():
        found += [line] if "|" in line or "\t" in line else [part for part in _STRETCH.split(line) if part.strip()]
    return found


def _other(given: Quantity, beside: Sequence[Sequence[Quantity]]) -> Quantity | None:
    """An amount of the kind of `given` beside the name, when none of those there equals it; None when one does."""
    alike = [one for found in beside for one in found if _is_alike(one, given)]
    everything = [one for found in beside for one in found]
    return alike[0] if alike and not any(given.equals(one) for one in everything) else None


def _is_alike(one: Quantity, given: Quantity) -> bool:
    return one.unit is not None and given.unit is not None and one.unit.base == given.unit.base


def message(found: Mispaired, sentence: str) -> str:
    """What is wrong, in the language of the sentence."""
    if is_chinese(sentence):
        return f"引文中“{found.name}”对应的是 {found.held.said}，不是 {found.given.said}"
    return f"the passage has {found.held.said} for {found.name}, not {found.given.said}"
