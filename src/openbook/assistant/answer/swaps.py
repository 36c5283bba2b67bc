"""Facts of one passage given to the wrong thing: "The bus takes 3 hours" of "The train takes 3 hours and the bus 5 hours".

A clause of the sentence is laid beside the clauses of the passage. An amount is swapped when the clause that has it
shares none of its own words with the sentence, while another clause, with another amount of the same kind, does. A
name is swapped when what is said of it is said, word for word, of another name, and of it nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from openbook.assistant.answer.dates import clocks
from openbook.assistant.answer.facts import Quantity, quantities
from openbook.assistant.answer.mentions import is_chinese, is_function_word, proper_names
from openbook.assistant.answer.units import rates, same_dimension
from openbook.library.lexical.fold import fold, simplify
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms

_CUT = re.compile(
    r"(?<!\d)[,，](?!\d{3})|(?<!\d):|:(?!\d)|[;；：。！？!?\n]|(?<!\b[ap])(?<!\.m)\.(?!\d)|\b(?:and|but|while|whereas)\b|而"
)
_NUMERAL = re.compile(r"\d|^[零〇一二两三四五六七八九十百千万亿]+$")
_MOST_CLAUSES = 60
_SHORT = 2
"""Words of a clause that has no verb of its own."""


class Swapped(NamedTuple):
    """`given` is in the passage, but for other than what the sentence says; there it is `held`."""

    given: str
    held: str
    is_time: bool = False


class _Clause(NamedTuple):
    own: frozenset[str]
    """Its terms without numbers, units and stop words."""
    first: str
    """The first of them."""
    amounts: tuple[Quantity, ...]
    minutes: frozenset[int]
    times: tuple[str, ...]


def swapped_amounts(sentence: str, passage: str) -> Iterator[Swapped]:
    """Amounts and times of day that the passage has, for other things than those of the sentence."""
    if "|" in passage or "\t" in passage:  # the rows of a table are compared cell by cell, see `pairing`
        return
    for clause in map(_clause, _cut(sentence)):
        if not clause.amounts and not clause.times:
            continue
        theirs = [_clause(text) for text in _cut(passage)]
        if len(clause.amounts) == 1 and not clause.times:
            given = clause.amounts[0]
            held = [(c, c.amounts[0]) for c in theirs if len(c.amounts) == 1 and _is_alike(c.amounts[0], given)]
            same = [c for c, amount in held if amount.equals(given)]
            others = [(c, amount.said) for c, amount in held if not amount.equals(given)]
            elsewhere = any(a.equals(given) for c in theirs if len(c.amounts) != 1 for a in c.amounts)
        elif len(clause.times) == 1 and not clause.amounts:
            timed = [c for c in theirs if len(c.times) == 1]
            same = [c for c in timed if c.minutes & clause.minutes]
            others = [(c, c.times[0]) for c in timed if not c.minutes & clause.minutes]
            elsewhere = any(c.minutes & clause.minutes for c in theirs if len(c.times) > 1)
        else:
            continue
        said = clause.amounts[0].said if clause.amounts else clause.times[0]
        if same and not elsewhere and (other := _better(clause, same, others)):
            yield Swapped(said, other, is_time=not clause.amounts)


def _better(clause: _Clause, same: Sequence[_Clause], others: Sequence[tuple[_Clause, str]]) -> str | None:
    """What the other clause says that alone shares words of its own with `clause`; None when one with the amount does,
    or has no words of its own, because it goes on from what stands before it.
    """
    return next((said for other, said in others if all(_is_other(clause, one, other) for one in same)), None)


def _is_other(clause: _Clause, one: _Clause, other: _Clause) -> bool:
    mine, theirs = one.own - other.own, other.own - one.own
    if not mine or not theirs & clause.own:
        return False
    if len(other.own) <= _SHORT and other.first in clause.own:  # "and the bus 5 hours": its verb stands in the other
        return one.first not in clause.own
    return not mine & clause.own


def _is_alike(one: Quantity, two: Quantity) -> bool:
    if one.unit is None or two.unit is None:
        return one.unit is two.unit and not one.is_lone and not two.is_lone
    return same_dimension(one.unit, two.unit)


def _cut(text: str) -> list[str]:
    return [part for part in _CUT.split(text) if part.strip()][:_MOST_CLAUSES]


@lru_cache(maxsize=2_048)
def _clause(text: str) -> _Clause:
    amounts, times = tuple(quantities(text)), list(clocks(text))
    rest = text
    for said in (*(amount.said for amount in amounts), *(clock.said for clock in times)):
        rest = rest.replace(said, " ")
    own = [term for term in terms(rest) if term not in STOPWORDS and len(term) > 1 and not _NUMERAL.search(term)]
    minutes = frozenset().union(*(clock.minutes for clock in times))
    return _Clause(frozenset(own), own[0] if own else "", amounts, minutes, tuple(clock.said for clock in times))


def swapped_rates(sentence: str, passage: str) -> Iterator[tuple[str, str]]:
    """(rate of the sentence, rate of the passage) where the same amount is for each of something else."""
    for text in _cut(sentence):
        given = rates(text)
        if len(given) != 1 or len(amounts := _clause(text).amounts) != 1:
            continue
        held = [rates(one) for one in _cut(passage) if any(a.equals(amounts[0]) for a in _clause(one).amounts)]
        if held and all(len(found) == 1 and found != given for found in held):
            yield next(iter(given)), next(iter(held[0]))


_FOLLOWED = re.compile(r"^[\"“'(]*([A-Z][\w'-]+(?: [A-Z][\w'-]+)*) ([a-z][\w'-]+) ([\w'-]+)")
_BEFORE = r"\b([A-Z][\w'-]+(?: [A-Z][\w'-]+)*) "


def swapped_names(sentence: str, passage: str) -> Iterator[Swapped]:
    """Names at the head of a clause of which the passage says this of another name only."""
    if is_chinese(sentence):
        yield from _swapped_chinese(simplify(fold(sentence)), simplify(fold(passage)))
        return
    for text in re.split(r"(?<=[.!?;,]) |\b(?:and|but|while) ", sentence):
        match = _FOLLOWED.match(text.strip())
        if match is None or is_function_word(match[1].split()[0]):
            continue
        said = rf"{re.escape(match[2])} {re.escape(match[3])}"
        held = {
            found for found in re.findall(_BEFORE + said + r"\b", passage) if not is_function_word(found.split()[0])
        }
        if not held or re.search(rf"\b{said}\b", re.sub(_BEFORE + said + r"\b", " ", passage)):
            continue  # said of nothing that has a name, or also of something without one
        if not any(_is_one(match[1], name, passage) for name in held):
            yield Swapped(match[1], sorted(held)[0])


def _is_one(name: str, other: str, passage: str) -> bool:
    """Whether both may name the same: a part of it, or its first and last name side by side."""
    mine, theirs = set(name.split()), set(other.split())
    beside = rf"\b{re.escape(name)} (?:\w\. )?{re.escape(other)}\b|\b{re.escape(other)} (?:\w\. )?{re.escape(name)}\b"
    return bool(mine & theirs) or re.search(beside, passage) is not None


_SAID_OF = 3
"""Characters after a name that must be the same."""


def _swapped_chinese(sentence: str, passage: str) -> Iterator[Swapped]:
    known = [name for name in proper_names(passage) if 1 < len(name) < 8]
    for clause in re.split("[，,。；;！？!?]", sentence):
        name = next((one for one in proper_names(clause) if clause.startswith(one)), None)
        if name is None:
            continue
        said = clause[len(name) :][: _SAID_OF + 1]
        if len(said) <= _SAID_OF or name + said in passage:
            continue
        held = [other for other in known if other != name and f"{other}{said}" in passage]
        if held and passage.count(said) == sum(passage.count(other + said) for other in held):
            yield Swapped(name, held[0])


def message(found: Swapped, sentence: str) -> str:
    """What is wrong, in the language of the sentence."""
    if is_chinese(sentence):
        return f"引文中这里是“{found.held}”，不是“{found.given}”"
    return f'the passage has "{found.held}" here, not "{found.given}"'
