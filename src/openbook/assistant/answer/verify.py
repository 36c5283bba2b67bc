"""Whether a sentence agrees with the passage that it cites: numbers, units, dates, names, negation and what something is said to
be, compared by rules.

What does not agree is named in words, in the language of the sentence. Agreement does not prove that the passage says
the sentence; disagreement is a reason to look. Negation is compared between a clause and the one it was taken from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from openbook.assistant.answer import swaps
from openbook.assistant.answer.complements import other_complements
from openbook.assistant.answer.dates import Date
from openbook.assistant.answer.denials import contradicted
from openbook.assistant.answer.facts import Facts, Quantity, facts
from openbook.assistant.answer.mentions import WEEKDAYS, is_chinese
from openbook.assistant.answer.numerals import numbers
from openbook.assistant.answer.pairing import message, mispaired
from openbook.assistant.answer.polarity import denies
from openbook.assistant.answer.swaps import swapped_amounts, swapped_names
from openbook.assistant.answer.units import mentions_rate, same_dimension
from openbook.library.lexical.fold import fold, simplify
from openbook.library.lexical.stopwords import STOPWORDS
from openbook.library.lexical.tokenize import terms

FailureKind = Literal["number", "unit", "date", "name", "negation", "complement"]


class Failure(NamedTuple):
    """What of a sentence the passage does not bear out; `message` in the language of the sentence."""

    kind: FailureKind
    message: str


def verify(sentence: str, passage: str, context: str = "") -> list[Failure]:
    """What in `sentence` does not agree with `passage`; empty when all does.

    `context`: title, headings and table header, where names, numbers and units may stand as well.
    """
    sentence, passage = _plain(sentence), _plain(passage)
    said, held = facts(sentence), _held(f"{context}\n{passage}" if context else passage)
    whole = f"{context}\n{passage}"
    zh = is_chinese(sentence)
    paired = [Failure("number", message(found, sentence)) for found in mispaired(sentence, passage)]
    return [
        *_quantities(said, held, zh),
        *(paired or _swapped_amounts(sentence, passage)),
        *_rates(said, held, whole, zh),
        *_dates(said, held, zh),
        *_names(said, whole, zh),
        *(Failure("name", swaps.message(found, sentence)) for found in swapped_names(sentence, passage)),
        *_paired_rates(sentence, passage, zh),
        *_negation(sentence, passage, zh),
        *_complements(sentence, whole, zh),
    ]


def _complements(sentence: str, passage: str, zh: bool) -> Iterator[Failure]:
    for found in other_complements(sentence, passage):
        yield Failure(
            "complement",
            f"引文中是“{found.held}”，不是“{found.said}”"
            if zh
            else f'the passage has "{found.held}", not "{found.said}"',
        )


_EACH = re.compile(r"(?<=[元块角])一(?=[张人个天次晚位本份件台间辆斤年月])")
_NEXT = (("第二年", "次年"), ("第二天", "次日"), ("第一次", "首次"))


def _plain(text: str) -> str:
    """三十元一张 as 三十元每张, 第二年 as 次年: said with a numeral that counts nothing."""
    for said, plain in _NEXT:
        text = text.replace(said, plain)
    return _EACH.sub("每", text)


def _swapped_amounts(sentence: str, passage: str) -> Iterator[Failure]:
    for found in swapped_amounts(sentence, passage):
        yield Failure("date" if found.is_time else "number", swaps.message(found, sentence))


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


def _paired_rates(sentence: str, passage: str, zh: bool) -> Iterator[Failure]:
    """An amount that the passage gives for each of something else: 300 a year, where it has 300 a month."""
    for given, held in swaps.swapped_rates(sentence, passage):
        yield Failure(
            "unit",
            f"引文中是“{_RATE_NAMES[held]}”，不是“{_RATE_NAMES[given]}”"
            if zh
            else f'the passage has "per {held}", not "per {given}"',
        )


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
    r"(?<!\d)[,，](?!\d{3})|(?<!\d):|:(?!\d)|[;；：。！？!?\n()（）|]|(?<!\b[ap])(?<!\.m)\.(?!\d)"
    r"|(?<=\.m)\.(?=\s[A-Z])|\b(?:and|but|because|so that)\b|(?=\b(?:unless|except)\b)"
    r"|但是?|并(?![不非未没无])且?|而且|因为"
)
_MOST_CLAUSES = 3
"""Neighbouring clauses of a passage that one clause of a sentence may sum up."""
_MOST_COMPARED = 40
"""Clauses of one sentence; what has more is no sentence."""
_LEAST_ALIKE = 0.22
_CLOSE = 0.85
"""What is nearly as alike as the best may be what the clause was taken from as well."""
_MAIN = 0.5
"""Likeness of one clause of several, against theirs together, from which on it alone may be meant."""
_SPREAD = 0.5
"""Power of the number of clauses by which a term's weight falls."""
_UNSAID = 0.3
"""Weight of what only the passage has, against what only the sentence has: a sentence may leave out, not add."""


def _negation(sentence: str, passage: str, zh: bool) -> Iterator[Failure]:
    """Clauses that deny what the passage affirms, or the other way round.

    Two neighbouring clauses that both disagree, and agree when they are taken as one, say together what one clause of
    the passage says: "Without consent, nobody may enter", "Those without consent are refused".
    """
    theirs = _clauses(passage)
    clauses = [clause for clause in _clauses(sentence)[:_MOST_COMPARED] if _content(clause)]
    failed = {place: other for place, clause in enumerate(clauses) if (other := _denied(clause, theirs)) is not None}
    for place, other in failed.items():
        joined = [
            f"{clauses[first]} , {clauses[first + 1]}"
            for first in (place - 1, place)
            if first in failed and first + 1 in failed
        ]
        if not any(_denied(clause, theirs) is None for clause in joined):
            yield Failure("negation", _negation_message(other, zh))
    for place, clause in enumerate(clauses):
        if place not in failed and (said := contradicted(clause, theirs)) is not None:
            yield Failure("negation", _negation_message(said, zh))


def _denied(clause: str, theirs: Sequence[str]) -> str | None:
    """The words of the passage that `clause` was taken from and contradicts; None where it agrees or is like nothing."""
    content = _content(clause)
    spans = (theirs[at : at + size] for size in range(1, _MOST_CLAUSES + 1) for at in range(len(theirs) - size + 1))
    runs = [run for run in spans if all(content & _content(run[end]) for end in (0, -1)) or len(run) == 1]
    often = Counter(term for one in theirs for term in _content(one))
    alike = [_alike(content, frozenset().union(*map(_content, run)), often) for run in runs]
    best = max(alike, default=0.0)
    if best < _LEAST_ALIKE:
        return None
    source = runs[alike.index(best)]
    near = [
        run
        for run, score in zip(runs, alike, strict=True)
        if score >= _CLOSE * best and (run is source or len(source) > 1 or source[0] not in run)
    ]
    if len(source) > 1:  # it may be about one of the clauses, and share a word with the others
        near += [
            [one]
            for one in source
            if _is_main(one, source, content) and _alike(content, _content(one), often) >= _MAIN * best
        ]
    return " ".join(source) if all(denies(" , ".join(run)) != denies(clause) for run in near) else None


def _is_main(clause: str, source: Sequence[str], content: frozenset[str]) -> bool:
    """Whether each other clause of `source` has at most one term of `content` that `clause` has not."""
    rest = content - _content(clause)
    return all(len(rest & _content(other)) < 2 for other in source if other is not clause)


def _alike(content: frozenset[str], other: frozenset[str], often: Mapping[str, int]) -> float:
    """Tversky's index of the terms of a clause and of what it may have been taken from; a term counts the less, the more
    clauses of the passage have it.
    """
    shared = _weight(content & other, often)
    return (
        shared / (shared + _weight(content - other, often) + _UNSAID * _weight(other - content, often))
        if shared
        else 0.0
    )


def _weight(found: frozenset[str], often: Mapping[str, int]) -> float:
    return float(sum(max(1, often.get(term, 1)) ** -_SPREAD for term in found))


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
