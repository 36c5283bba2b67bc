"""Dates and times by their spellings: 2026-09-01 = 1 September 2026 = 二〇二六年九月一日; 4 p.m. = 16:00 = 下午四点."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from openbook.assistant.answer.mentions import MONTHS, WEEKDAYS
from openbook.assistant.answer.numerals import ZH, chinese
from openbook.assistant.answer.units import currency_before, unit_after

_MONTH = "|".join(f"{name}|{name[:3]}\\.?" if name != "September" else "September|Sept?\\.?" for name in MONTHS)
_N = rf"(?:\d{{1,2}}|{ZH}{{1,3}})"
_DATE = re.compile(
    rf"""
    (?<!\d)(?P<y1>\d{{4}})[-/.](?P<m1>\d{{1,2}})[-/.](?P<d1>\d{{1,2}})(?!\d)
    | (?<![\d/])(?P<a2>\d{{1,2}})[/.](?P<b2>\d{{1,2}})[/.](?P<y2>\d{{4}})(?!\d)
    | (?<!\d)(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?(?P<m3>{_MONTH})\b,?(?:\s(?P<y3>\d{{4}}))?(?!\d)
    | \b(?P<m4>{_MONTH})\s(?:the\s)?(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,?\s(?P<y4>\d{{4}}))?
    | \b(?P<m5>{_MONTH}),?\s(?P<y5>\d{{4}})\b
    | (?P<y6>\d{{4}}|[零〇一二三四五六七八九]{{4}})\s?年
      (?:\s?(?P<m6>{_N})月份?(?:初|底|末|中旬|上旬|下旬)?(?:\s?(?P<d6>{_N})[日号])?)?
    | (?<![个\d])(?P<m7>{_N})月份?(?:(?P<d7>{_N})[日号]|(?=[初底末中上下以之开至到]))
    | (?<!May\s)\b(?:in|of|since|by|until|before|after|from)\s(?P<m8>{_MONTH})\b(?!\.?\s\d)
    | (?<![\d.,:/-])(?P<y9>1\d{{3}}|20\d\d)(?![\d%/:]|[.,]\d)
    """,
    re.VERBOSE,
)
_TIME = re.compile(
    rf"""
    (?<![\d:])(?P<h1>\d{{1,2}}):(?P<m1>[0-5]\d)(?:\s?(?P<p1>[ap])\.?m\b\.?)?
    | (?<![\d:.])(?P<h2>\d{{1,2}})\s?(?P<p2>[ap])\.?m\b\.?
    | (?P<part>凌晨|早上|清晨|上午|中午|下午|傍晚|晚上|夜里|晚)?(?P<h3>{_N})
      (?:点(?!{ZH}{{1,4}}(?!分|刻))|时(?=停|开|起|至|到|止|以|之|，|。|整|顺|许|[\d一二三四五六七八九十]))
      (?:(?P<half>半)|(?P<quarter>[一三]刻)|(?P<m3>{_N})分|整|钟)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WEEKDAY = re.compile(rf"\b({'|'.join(WEEKDAYS)})s?\b|(?:周|星期|礼拜)([一二三四五六日天])(?!年|个)")
_RELATIVE = {
    "the same day": re.compile(r"当天|当日|\bsame day\b"),
    "the next day": re.compile(r"次日|翌日|\b(?:next|following) (?:working )?day\b"),
    "the same year": re.compile(r"当年|同年|\bsame year\b"),
    "the next year": re.compile(r"次年|翌年|来年|\b(?:next|following) year\b"),
    "the next month": re.compile(r"次月|下个月|\b(?:next|following) month\b"),
}


class Date(NamedTuple):
    """What is said of a day: year, month and day, each where given."""

    year: int | None
    month: int | None
    day: int | None
    said: str
    start: int
    end: int


class Clock(NamedTuple):
    """`minutes` of the day that may be meant: 八点 without more can be morning or evening."""

    minutes: frozenset[int]
    said: str
    start: int
    end: int


def dates(text: str) -> Iterator[Date]:
    """The dates of `text`, in order. A bare number from 1000 to 2099 without a unit is taken for a year."""
    for match in _DATE.finditer(text):
        at = match.groupdict()
        if at["a2"]:
            first, second = int(at["a2"]), int(at["b2"])
            middle_is_month = second <= 12
            numbers = (second, first) if middle_is_month else (first, second)
            yield Date(int(at["y2"]), *numbers, match[0], *match.span())
            continue
        if at["y9"] and (unit_after(text, match.end()) or currency_before(text, match.start())):
            continue
        year = _integer(at["y1"] or at["y3"] or at["y4"] or at["y5"] or at["y6"] or at["y9"])
        month = _month(at["m1"] or at["m3"] or at["m4"] or at["m5"] or at["m6"] or at["m7"] or at["m8"])
        day = _integer(at["d1"] or at["d3"] or at["d4"] or at["d6"] or at["d7"])
        if (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31):
            yield Date(year, month, day, match[0].strip(), *match.span())


_HOURS = dict(zip("one two three four five six seven eight nine ten eleven twelve".split(), range(1, 13), strict=True))
_WORDED = re.compile(
    rf"\b(?P<part>half past|(?:a )?quarter past|(?:a )?quarter to)\s(?P<hour>{'|'.join(_HOURS)}|\d{{1,2}})\b"
    rf"|\b(?P<sharp>{'|'.join(_HOURS)}|\d{{1,2}}) o['’]clock\b",
    re.IGNORECASE,
)


def _worded(text: str) -> Iterator[Clock]:
    """ "half past eleven", "a quarter to 9", "ten o'clock", in the morning or in the evening."""
    for match in _WORDED.finditer(text):
        said = (match["hour"] or match["sharp"]).lower()
        hour = _HOURS.get(said) or int(said)
        past = {"half past": 30, "quarter past": 15, "quarter to": -15}
        minute = past[match["part"].lower().removeprefix("a ")] if match["part"] else 0
        hours = {hour, hour + 12} if hour <= 12 else {hour}
        yield Clock(frozenset((h * 60 + minute) % 1440 for h in hours), match[0], *match.span())


def clocks(text: str) -> Iterator[Clock]:
    """The times of day of `text`."""
    yield from _worded(text)
    for match in _TIME.finditer(text):
        at = match.groupdict()
        hour = _integer(at["h1"] or at["h2"] or at["h3"])
        if hour is None or hour > 24:
            continue
        minute = (
            30 if at["half"] else {"一刻": 15, "三刻": 45}.get(at["quarter"] or "", _integer(at["m1"] or at["m3"]) or 0)
        )
        if at["h3"]:
            hours = _chinese_hours(hour, at["part"])
        else:
            hours = _english_hours(hour, at["p1"] or at["p2"])
        yield Clock(frozenset(h % 24 * 60 + minute for h in hours), match[0].strip(), *match.span())


def _english_hours(hour: int, part: str | None) -> set[int]:
    if part is None:
        return {hour}
    return {hour % 12 + (12 if part.lower() == "p" else 0)}


def _chinese_hours(hour: int, part: str | None) -> set[int]:
    if hour > 12 or hour == 0:
        return {hour}
    if part in ("下午", "傍晚", "晚上", "夜里", "晚"):
        return {hour % 12 + 12} if hour > 5 or part in ("下午", "傍晚") else {hour, hour + 12}
    return {hour} if part else {hour, hour % 12 + 12}


def weekdays(text: str) -> set[int]:
    """0 Monday ... 6 Sunday. A range names its ends."""
    return {
        WEEKDAYS.index(match[1]) if match[1] else "一二三四五六日天".index(match[2]) % 7 if match[2] != "天" else 6
        for match in _WEEKDAY.finditer(text)
    }


def relative_days(text: str) -> set[str]:
    return {name for name, pattern in _RELATIVE.items() if pattern.search(text)}


def masked(text: str) -> str:
    """`text` with its dates, times and weekdays blanked out, the length kept: what is left to find numbers in."""
    spans = [(date.start, date.end) for date in dates(text)] + [(clock.start, clock.end) for clock in clocks(text)]
    spans += [match.span() for match in _WEEKDAY.finditer(text)]
    for start, end in spans:
        text = text[:start] + "\x00" * (end - start) + text[end:]
    return text


def _integer(text: str | None) -> int | None:
    if not text:
        return None
    return int(text) if text.isdigit() else int(chinese(text))


def _month(text: str | None) -> int | None:
    if text and text[:3].title() in (name[:3] for name in MONTHS):
        return next(number for number, name in enumerate(MONTHS, 1) if name[:3] == text[:3].title())
    return _integer(text)
