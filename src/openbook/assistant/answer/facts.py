"""The facts of a text that can be compared word for word with another's: quantities, dates, times, rates and names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from openbook.assistant.answer.dates import Clock, Date, clocks, dates, masked, relative_days, weekdays
from openbook.assistant.answer.mentions import english_names, is_chinese, proper_names
from openbook.assistant.answer.numerals import Number, numbers
from openbook.assistant.answer.units import Unit, currency_before, rates, unit_after

_PERCENT = Unit("percent", "%")
_YUAN = re.compile(r"[元块](?P<tenths>[一二三四五六七八九\d])[角毛](?:(?P<hundredths>[一二三四五六七八九\d])分)?")
_RANGE = re.compile(r"\s?(?:[-–—~～]|to|and|至|到|或者?)\s?$")
_CODE = re.compile(
    r"\b(?=[A-Za-z]*[-.]?\d)(?=[\d.-]*[A-Z])[A-Z][A-Za-z]*[-.]?\d[\w.-]*\b|\b[A-Z]{1,4}-[A-Z]?\d*[A-Za-z]\w*\b"
)
_BRACKETED = re.compile(r"[(（]\s*([^\d()（）]{1,12})[)）]")
_LABEL = re.compile(r"(?<=\s)[B-HJ-Z](?=[\s.,;:?!)]|$)")
"""A single capital letter that names something: gate C."""


class Quantity(NamedTuple):
    """`value` in `unit`, None where there is none; `said` as it is written."""

    value: Fraction
    unit: Unit | None
    said: str
    start: int
    is_lone: bool = False

    def equals(self, other: Quantity) -> bool:
        """The same amount: equal in one base unit, or equal as written where one of the two has no unit."""
        if self.unit is None or other.unit is None:
            if other.is_lone and other.unit is None and self.unit is not None:
                return False
            return self.value == other.value or self._share() == other._share()
        if self.unit.base != other.unit.base:
            return False
        return self.value * self.unit.factor == other.value * other.unit.factor

    def _share(self) -> Fraction:
        """50 % as a half."""
        return self.value / 100 if self.unit is not None and self.unit.base == "%" else self.value

    def in_unit(self, unit: Unit) -> Quantity:
        return self._replace(unit=unit)


@dataclass(frozen=True)
class Facts:
    quantities: tuple[Quantity, ...]
    dates: tuple[Date, ...]
    clocks: tuple[Clock, ...]
    weekdays: frozenset[int]
    relative: frozenset[str]
    rates: frozenset[str]
    names: tuple[str, ...]
    columns: tuple[Unit, ...]
    """Units in brackets, as in the header of a table: "Price (EUR)", 交货期（天）."""


def facts(text: str, *, liberal: bool = False) -> Facts:
    """Everything of `text` that `verify` compares. `liberal`: also what is only perhaps a number, for a text that is
    looked into, where a number too many does less harm than one too few.
    """
    return Facts(
        quantities=tuple(quantities(text, liberal=liberal)),
        dates=tuple(dates(text)),
        clocks=tuple(clocks(text)),
        weekdays=frozenset(weekdays(text)),
        relative=frozenset(relative_days(text)),
        rates=frozenset(rates(text)),
        names=tuple(names(text)),
        columns=tuple(found[0] for match in _BRACKETED.finditer(text) if (found := unit_after(match[1], 0))),
    )


def quantities(text: str, *, liberal: bool = False) -> list[Quantity]:
    """Numbers with their units; in "2-8 °C" and "10 to 12 days" the unit holds for both."""
    rest = masked(text)
    halves = [_half_more(match) for match in _AND_A_HALF.finditer(rest)]
    found = [_quantity(text, rest, number) for number in numbers(rest, liberal=liberal)]
    if halves and liberal:
        found = [*halves, *found]
    for place in range(len(found) - 2, -1, -1):
        one, two = found[place], found[place + 1]
        between = rest[one.start + len(one.said) : two.start]
        if one.unit is None and two.unit is not None and _RANGE.fullmatch(between):
            found[place] = one._replace(unit=two.unit)
    return found


def _quantity(text: str, rest: str, number: Number) -> Quantity:
    said = text[number.start : number.end]
    if number.is_percent:
        return Quantity(number.value, _PERCENT, said, number.start)
    unit = unit_after(rest, number.end)
    value = number.value
    currency = currency_before(rest, number.start)
    if currency is not None and unit is not None and unit[0].base == "m":
        return Quantity(value * 10**6, currency, text[number.start : unit[1]], number.start)  # $2.4m
    if unit is not None:
        yuan = _YUAN.match(rest, number.end)
        if yuan is not None:
            value += Fraction(_digit(yuan["tenths"]), 10) + Fraction(_digit(yuan["hundredths"]), 100)
            unit = unit[0], yuan.end()
        return Quantity(value, unit[0], text[number.start : unit[1]], number.start)
    return Quantity(value, currency, said, number.start, number.is_lone)


_AND_A_HALF = re.compile(
    r"\b(?P<count>an?|one|two|three|four|five|\d+) (?P<unit>hour|day|week|month|year)s? and a half\b"
    r"|(?P<zh>[一二两三四五\d]+)(?P<unit_zh>年|天|个?小时|个?月)半",
    re.IGNORECASE,
)


def _half_more(match: re.Match[str]) -> Quantity:
    """ "a year and a half", 一年半."""
    said = match["count"] or match["zh"]
    whole = Fraction(1) if said.lower() in ("a", "an") else next(numbers(f"{said}个", liberal=True)).value
    unit = unit_after(match["unit"] or match["unit_zh"], 0)
    return Quantity(whole + Fraction(1, 2), unit[0] if unit else None, match[0], match.start())


def _digit(sign: str | None) -> int:
    return "零一二三四五六七八九".index(sign) if sign and not sign.isdigit() else int(sign or 0)


def names(text: str) -> list[str]:
    """Names, codes and labels, each once, without units and currencies."""
    found = [match[0] for match in _CODE.finditer(text)]
    if is_chinese(text):
        found += proper_names(text)
    else:
        found += english_names(text, strict=True)
        found += [match[0] for match in _LABEL.finditer(text)]
    return [name for name in dict.fromkeys(found) if name not in _SCALES and not _is_unit(name.split()[0])]


_SCALES = ("Celsius", "Fahrenheit")


def _is_unit(name: str) -> bool:
    unit = unit_after(f" {name}", 0)
    return unit is not None and unit[1] == len(name) + 1
