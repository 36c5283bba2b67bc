"""Numbers by their spellings: 1,200 = 1.2k = 1.2 thousand = 一千二百; 10 % = 百分之十 = 一成; 1/3 = a third = 三分之一."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_ONES = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split(),
        range(20),
        strict=True,
    )
)
_TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
_SCALES = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 10**6,
    "billion": 10**9,
    "k": 1_000,
    "bn": 10**9,
    "m": 10**6,
    "dozen": 12,
}
_ORDINALS = dict(
    zip("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), range(3, 13), strict=True)
)
_PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fifth": 5,
    "tenth": 10,
    "thirds": 3,
    "quarters": 4,
    "fifths": 5,
    "tenths": 10,
}
_DIGITS = dict(zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_PLACES = {"十": 10, "百": 100, "千": 1_000}
_GROUPS = {"万": 10_000, "亿": 10**8}

ZH = "[零〇一二两三四五六七八九十百千万亿]"
_NOT_UNIT = "(?![瓦克米伏卡赫帕焦])"  # 千瓦, 千克, 千米: a part of the unit
_ARABIC = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_COUNTED = (
    "个天年月周日次元位名人件条座种小时分钟秒公里米台股项篇门片号层级等期倍届岁步晚间所家张本册辆艘吨亩平立度毫千厘美欧英港角块成星季半"
    "支组只口栋幢块楼点批轮场队"
)
_WORD = "|".join([*_TENS, *sorted(_ONES, key=len, reverse=True)])
_NUMBER = re.compile(
    rf"""
    (?P<percent_zh>百分之(?:{_ARABIC}|{ZH}+(?:点{ZH}+)?))
    | (?P<part_zh>{ZH}+分之{ZH}+)
    | (?P<fraction>(?<![\d/])\d{{1,3}}/\d{{1,3}}(?![\d/]))
    | (?<![A-Za-z_\d])(?<![A-Za-z]-)(?<![A-Za-z\d]\.)(?P<arabic>{_ARABIC})
      (?:[ ]?(?P<scale>m(?=[ ](?:euros?|dollars?|pounds|yuan|kroner)\b)
        |thousand|million|billion|hundred|bn|k\b|K\b|万亿|百万|千万|[万亿千百]{_NOT_UNIT}))?(?:st|nd|rd|th)?
    | \b(?P<part>(?:(?:a|one|two|three|four)[ -])?(?:half|thirds?|quarters?|fifths?|tenths?))(?=\s+(?:of|an?|hour|year|day)\b)
    | \b(?P<word>(?:{_WORD})(?:[ -](?:and[ ])?(?:{_WORD}|hundred|thousand|million|billion|dozen))*)\b
    | \b(?P<ordinal>{"|".join(_ORDINALS)})\b
    | (?P<half>半)(?=年|个?月|小时|个小时|天)
    | 第?(?P<zh>{ZH}+(?:点{ZH}+)?{_NOT_UNIT})
    """,
    re.VERBOSE | re.IGNORECASE,
)


LONGEST = 60
"""A longer run of digits is no number that a sentence states."""


class Number(NamedTuple):
    """`value` of `start:end`; `is_percent` where the words for it are part of the number (百分之十, 六成); `is_lone`:
    a single numeral that may be part of a word (第三方, "one").
    """

    value: Fraction
    start: int
    end: int
    is_percent: bool = False
    is_lone: bool = False


def numbers(text: str, *, liberal: bool = False) -> Iterator[Number]:
    """The numbers of `text`, in order; with `liberal` also lone Chinese numerals before words that are no measures.
    "one", "first", "second" and a lone 一 count nothing in most sentences: left out."""
    for match in _NUMBER.finditer(text):
        kind = match.lastgroup if match.lastgroup != "scale" else "arabic"
        if len(match[0]) > LONGEST:
            continue
        said = match[0].lower()
        start, end = match.span()
        match kind:
            case "percent_zh":
                yield Number(_any(said[3:]), start, end, True)
            case "part_zh":
                below, above = said.split("分之")
                if chinese(below):
                    yield Number(chinese(above) / chinese(below), start, end)
            case "fraction":
                above, below = said.split("/")
                if int(below):
                    yield Number(Fraction(int(above), int(below)), start, end)
            case "arabic":
                yield Number(_arabic(match["arabic"], match["scale"]), start, end)
            case "part":
                words = re.split("[ -]", said)
                count = {"two": 2, "three": 3, "four": 4}.get(words[0], 1)
                yield Number(Fraction(count, _PARTS[words[-1]]), start, end)
            case "word":
                if liberal or said not in ("one", "zero"):
                    yield Number(Fraction(_english(said)), start, end, is_lone=said == "one")
            case "ordinal":
                yield Number(Fraction(_ORDINALS[said]), start, end)
            case "half":
                yield Number(Fraction(1, 2), start, end)
            case _:
                yield from _chinese_number(text, match, liberal)


def _chinese_number(text: str, match: re.Match[str], liberal: bool) -> Iterator[Number]:
    """A lone numeral counts only before a measure or after 第: 四川, 一切 and 三峡 hold none."""
    said, (start, end) = match["zh"], match.span()
    after = text[end : end + 1]
    tenths = after == "成" and text[end + 1 : end + 2] not in tuple("立为本员果功绩人都年长分交")
    if not liberal and len(said) == 1 and not (after and after in _COUNTED) and text[start] != "第":
        return
    if not liberal and said == "一" and after in "个级等点所样切些般部块面期家只种场批定":
        return
    if said in ("千", "万", "亿") and not after.isdigit():
        return
    yield Number(_any(said) * (10 if tenths else 1), start, end + tenths, tenths, is_lone=len(said) == 1)


def _any(text: str) -> Fraction:
    return Fraction(text.replace(",", "")) if text[0].isdigit() else chinese(text)


def _arabic(digits: str, scale: str | None) -> Fraction:
    value = Fraction(digits.replace(",", ""))
    if not scale:
        return value
    lower = scale.lower()
    return value * (_SCALES[lower] if lower in _SCALES else chinese("一" + scale if scale[0] in "万亿千百" else scale))


def _english(words: str) -> int:
    total = current = 0
    for word in re.split("[ -]", words):
        if word in _ONES or word in _TENS:
            current += _ONES.get(word, 0) + _TENS.get(word, 0)
        elif word in _SCALES:
            current = max(current, 1) * _SCALES[word]
            if _SCALES[word] >= 1_000:
                total, current = total + current, 0
    return total + current


def chinese(text: str) -> Fraction:
    """The value of a Chinese numeral: 一百二十 = 120, 二〇二六 = 2026, 五点五万 = 55000, 一千二 = 1200."""
    whole, point, rest = text.partition("点")
    if point:
        scale = Fraction(1)
        while rest and rest[-1] in _GROUPS:
            scale *= _GROUPS[rest[-1]]
            rest = rest[:-1]
        digits = "".join(str(_DIGITS.get(sign, 0)) for sign in rest)
        return (chinese(whole) + Fraction(int(digits or "0"), 10 ** len(digits))) * scale
    if len(text) > 1 and all(sign in _DIGITS for sign in text):
        return Fraction(int("".join(str(_DIGITS[sign]) for sign in text)))
    total = section = digit = 0
    last = 1
    for sign in text:
        if sign in _DIGITS:
            digit = _DIGITS[sign]
            last = 1 if sign in "零〇" else last
        elif sign in _PLACES:
            section += max(digit, 1) * _PLACES[sign]
            digit, last = 0, _PLACES[sign]
        else:
            below = total if sign == "亿" else 0  # 一亿二千万: 万 scales only what stands between
            total = total - below + (below + section + digit or 1) * _GROUPS[sign]
            section, digit, last = 0, 0, _GROUPS[sign]
    tail = digit * (last // 10) if digit and last >= 100 else digit
    return Fraction(total + section + tail)
