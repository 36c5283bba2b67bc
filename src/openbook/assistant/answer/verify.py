"""Whether a sentence agrees with the passage that it cites: numbers, units, dates, names and negation, compared by rules.

What does not agree is named in words, in the language of the sentence. Agreement does not prove that the passage says
the sentence; disagreement is a reason to look. Negation is compared between a clause and the one it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from openbook.assistant.answer.dates import Date
from openbook.assistant.answer.facts import Facts, Quantity, facts
from openbook.assistant.answer.mentions import WEEKDAYS, is_chinese
from openbook.assistant.answer.numerals import numbers
from openbook.assistant.answer.pairing import message, mispaired
from openbook.assistant.answer.polarity import denies
from openbook.assistant.answer.units import mentions_rate, same_dimension
from openbook.library.lexical.fold import fold, simplify
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms

FailureKind = Literal["number", "unit", "date", "name", "negation"]


class Failure(NamedTuple):
    """What of a sentence the passage does not bear out; `message` in the language of the sentence."""

    kind: FailureKind
    message: str


def verify(sentence: str, passage: str, context: str = "") -> list[Failure]:
    """What in `sentence` does not agree with `passage`; empty when all does.

    `context`: title, headings and table header, where names, numbers and units may stand as well.
    """
    said, held = facts(sentence), _held(f"{context}\n{passage}" if context else passage)
    whole = f"{context}\n{passage}"
    zh = is_chinese(sentence)
    return [
        *_quantities(said, held, zh),
        *(Failure("number", message(found, sentence)) for found in mispaired(sentence, passage)),
        *_rates(said, held, whole, zh),
        *_dates(said, held, zh),
        *_names(said, whole, zh),
        *_negation(sentence, passage, zh),
    ]


@lru_cache(maxsize=256)
def _held(text: str) -> Facts:
    return facts(text, liberal=True)


def _quantities(said: Facts, held: Facts, zh: bool) -> Iterator[Failure]:
    known = [*held.quantities, *(_year_quantity(date) for date in held.dates if date.year is not None)]
    for quantity in said.quantities:
        if any(_same(quantity, other, held) for other in known):
            continue
        alike = next((other for other in known if other.value == quantity.value and other.unit), None)
        if alike is None and quantity.unit is not None:
            columns = (unit for unit in held.columns if same_dimension(unit, quantity.unit))
            bare = next((other for other in known if other.value == quantity.value and not other.is_lone), None)
            unit = next(columns, None)
            alike = bare._replace(unit=unit, said=f"{bare.said} {unit.name}") if bare and unit else None
        if alike is not None and quantity.unit is not None and alike.unit is not None:
            yield Failure(
                "unit",
                f"引文中是“{alike.said}”，不是“{quantity.said}”"
                if zh
                else f'the passage has "{alike.said}", not "{quantity.said}"',
            )
        else:
            yield Failure(
                "number",
                f"引文中没有数字 {quantity.said}" if zh else f"the number {quantity.said} is not in the passage",
            )


def _same(quantity: Quantity, other: Quantity, held: Facts) -> bool:
    """Equal amounts; a number without unit in a table has one of those that its columns name for such amounts."""
    if quantity.unit is not None and other.unit is None:
        columns = [unit for unit in held.columns if same_dimension(unit, quantity.unit)]
        if columns:
            return any(quantity.equals(other.in_unit(unit)) for unit in columns)
    return quantity.equals(other)


def _year_quantity(date: Date) -> Quantity:
    return Quantity(Fraction(date.year or 0), None, str(date.year), date.start)


_RATE_NAMES = {
    "minute": "每分钟",
    "hour": "每小时",
    "day": "每天",
    "night": "每晚",
    "week": "每周",
    "month": "每月",
    "quarter": "每季度",
    "year": "每年",
    "kilometre": "每公里",
    "mile": "每英里",
}


def _rates(said: Facts, held: Facts, passage: str, zh: bool) -> Iterator[Failure]:
    """Where the passage names any rate, the sentence's must be one of them; else the word must at least occur."""
    for name in sorted(said.rates - held.rates):
        if held.rates or not mentions_rate(passage, name):
            yield Failure("unit", f"引文中没有“{_RATE_NAMES[name]}”" if zh else f'"per {name}" is not in the passage')


def _dates(said: Facts, held: Facts, zh: bool) -> Iterator[Failure]:
    years = {date.year for date in held.dates} | {int(q.value) for q in held.quantities if q.unit is None}
    for date in said.dates:
        if not any(_agrees(date, other, years) for other in held.dates) and not (
            date.month is None and date.day is None and date.year in years
        ):
            yield Failure(
                "date", f"引文中没有日期 {date.said}" if zh else f"the date {date.said} is not in the passage"
            )
    known = frozenset().union(*(clock.minutes for clock in held.clocks))
    for clock in said.clocks:
        if not clock.minutes & known:
            yield Failure(
                "date", f"引文中没有时间 {clock.said}" if zh else f"the time {clock.said} is not in the passage"
            )
    for day in sorted(said.weekdays - held.weekdays):
        name = f"周{'一二三四五六日'[day]}" if zh else WEEKDAYS[day]
        yield Failure("date", f"引文中没有{name}" if zh else f"{name} is not in the passage")
    if held.relative:
        for relative in sorted(said.relative - held.relative):
            yield Failure("date", f"引文中的日期不同（{relative}）" if zh else f"{relative} is not in the passage")


def _agrees(date: Date, other: Date, years: set[int | None]) -> bool:
    """Each part of `date` is that of `other`; a year may stand elsewhere in the passage when `other` has none."""
    if date.month is not None and date.month != other.month:
        return False
    if date.day is not None and date.day != other.day:
        return False
    return date.year is None or date.year == other.year or (other.year is None and date.year in years)


_NATIONS = {
    "french": "france", "dutch": "netherlands", "british": "britain", "spanish": "spain", "danish": "denmark",
    "swiss": "switzerland", "greek": "greece", "turkish": "turkey", "american": "united states", "us": "united states",
    "u.s": "united states", "usa": "united states", "uk": "united kingdom", "eu": "european union", "un": "united nations",
}  # fmt: skip
_ORGANISATION = re.compile(
    "^.{2,}?(?:股份有限公司|有限公司|公司|集团|大学|学院|医院|银行|法院|工厂|厂|局|部|委员会|协会|研究院)"
)


def _names(said: Facts, passage: str, zh: bool) -> Iterator[Failure]:
    folded = simplify(fold(passage))
    words = set(re.findall(r"[^\W_]+", folded))
    for name in said.names:
        if not (_has_chinese(name, folded) if is_chinese(name) else _has_english(name, folded, words)):
            yield Failure("name", f"引文中没有“{name}”" if zh else f'the name "{name}" is not in the passage')


def _has_english(name: str, folded: str, words: set[str]) -> bool:
    """Every word of the name stands in the passage, as it is, inflected, or as the country of an adjective."""
    lower = fold(name)
    if lower in folded and (len(lower) > 1 or lower in words):
        return True
    return all(_has_word(word, folded, words) for word in re.findall(r"[^\W_]+(?:\.[^\W_])*", lower.replace("'s", "")))


def _has_word(word: str, folded: str, words: set[str]) -> bool:
    if word in words or word in STOPWORDS or _NATIONS.get(word, "\0") in folded:
        return True
    stem = word[: max(4, len(word) - 3)]
    return len(word) > 4 and any(other.startswith(stem) for other in words if abs(len(other) - len(word)) <= 3)


def _has_chinese(name: str, folded: str) -> bool:
    short = simplify(fold(name))
    if short in folded:
        return True
    organisation = _ORGANISATION.match(short)
    if organisation:
        return organisation[0] in folded
    parts = re.split("[·•・、和与]", short)
    if len(parts) < 2:
        return False
    # Where a dotted name ends is not told by its characters: its last part may hold what follows it.
    ends = [parts[-1][:size] for size in range(len(parts[-1]), 1, -1)]
    return all(part in folded for part in parts[:-1]) and any(end in folded for end in ends)


_CLAUSE = re.compile(
    r"(?<!\d)[,，](?!\d{3})|[;；:：。！？!?\n()（）|]|\.(?!\d)|\b(?:and|but|because|so that)\b|但是?|并且?|而且|因为"
)
_MOST_CLAUSES = 3
"""Neighbouring clauses of a passage that one clause of a sentence may sum up."""
_MOST_COMPARED = 40
"""Clauses of one sentence; what has more is no sentence."""
_LEAST_ALIKE = 0.22
_CLOSE = 0.85
"""What is nearly as alike as the best may be what the clause was taken from as well."""
_UNSAID = 0.3
"""Weight of what only the passage has, against what only the sentence has: a sentence may leave out, not add."""


def _negation(sentence: str, passage: str, zh: bool) -> Iterator[Failure]:
    """Clauses that deny what the passage affirms, or the other way round."""
    theirs = _clauses(passage)
    runs = [theirs[at : at + size] for size in range(1, _MOST_CLAUSES + 1) for at in range(len(theirs) - size + 1)]
    contents = [frozenset().union(*map(_content, run)) for run in runs]
    for clause in _clauses(sentence)[:_MOST_COMPARED]:
        content = _content(clause)
        if not content:
            continue
        alike = [_alike(content, other) for other in contents]
        best = max(alike, default=0.0)
        if best < _LEAST_ALIKE:
            continue
        near = [run for run, score in zip(runs, alike, strict=True) if score >= _CLOSE * best]
        if all(denies(" , ".join(run)) != denies(clause) for run in near):
            yield Failure("negation", _negation_message(" ".join(runs[alike.index(best)]), zh))


def _alike(content: frozenset[str], other: frozenset[str]) -> float:
    """Tversky's index of the terms of a clause and of what it may have been taken from."""
    shared = len(content & other)
    return shared / (shared + len(content - other) + _UNSAID * len(other - content)) if shared else 0.0


def _negation_message(other: str, zh: bool) -> str:
    if zh:
        return f"与引文的否定不一致：“{other}”"
    return f'one of sentence and passage denies, the other does not: "{other}"'


def _clauses(text: str) -> Sequence[str]:
    return [clause.strip() for clause in _CLAUSE.split(text) if clause.strip()]


@lru_cache(maxsize=2_048)
def _content(clause: str) -> frozenset[str]:
    """The terms that can be compared: numbers by their value, without stop words and words of denying and allowing."""
    rest = clause
    values = []
    for number in numbers(clause):
        rest = rest.replace(clause[number.start : number.end], " ")
        values.append(str(number.value))
    return frozenset([*values, *(term for term in terms(rest) if term not in STOPWORDS and term not in _CUES)])


_CUES = frozenset(
    "不 没 没有 未 无 不得 不能 不是 不要 禁止 无须 无需 不必 须 必须 需要 可以 应 may must can need".split()
)


def verify_across(sentence: str, passage: str, context: str = "") -> list[Failure]:
    """`verify` where sentence and passage are in different languages: numbers, units, dates and rates only."""
    said, held = facts(sentence), _held(f"{context}\n{passage}" if context else passage)
    zh = is_chinese(sentence)
    return [*_quantities(said, held, zh), *_dates(said, held, zh)]
