"""Units and currencies by all their usual spellings: km = kilometres = 公里, € = EUR = euros = 欧元, h = hours = 小时."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """`name` in messages; one unit is `factor` of its `base`, so that an hour is 60 minutes."""

    name: str
    base: str
    factor: Fraction = Fraction(1)


_DIMENSIONS = (
    frozenset(("minute", "day", "working day", "night", "month")),
    frozenset(("m2", "mu")),
    frozenset(("eur", "cent", "usd", "hkd", "jpy", "gbp", "cny", "krone")),
    frozenset(("m", "mile", "foot")),
    frozenset(("g", "lb")),
    frozenset(("celsius", "fahrenheit")),
)
_TABLE: dict[Unit, str] = {
    Unit("seconds", "minute", Fraction(1, 60)): r"seconds?\b|secs?\b|秒钟?",
    Unit("minutes", "minute"): r"minutes?\b|mins?\b|分钟",
    Unit("hours", "minute", Fraction(60)): r"hours?\b|hrs?\b|h\b|个?小时|个?钟头",
    Unit("working days", "working day"): r"(?:working|business) days?\b|个?工作日",
    Unit("days", "day"): r"(?:calendar )?days?\b|天|日(?!期|常|用|元|本|程|志)",
    Unit("nights", "night"): r"nights?\b|晚",
    Unit("weeks", "day", Fraction(7)): r"weeks?\b|周(?![一二三四五六日年])|个?星期|个?礼拜",
    Unit("months", "month"): r"months?\b|个月|月(?![初底末中])",
    Unit("quarters", "month", Fraction(3)): r"个?季度",
    Unit("decades", "month", Fraction(120)): r"decades?\b",
    Unit("years", "month", Fraction(12)): r"years?\b|年(?![初底末中休])",
    Unit("square kilometres", "m2", Fraction(10**6)): r"square kilomet(?:re|er)s?\b|km²|km2\b|平方公里|平方千米",
    Unit("square metres", "m2"): r"square met(?:re|er)s?\b|m²|m2\b|平方米|平米",
    Unit("hectares", "m2", Fraction(10**4)): r"hectares?\b|ha\b|公顷",
    Unit("mu", "mu"): r"mu\b|亩",
    Unit("cubic metres", "m3"): r"cubic met(?:re|er)s?\b|m³|m3\b|立方米|方(?=水)",
    Unit("kilometres", "m", Fraction(1000)): r"kilomet(?:re|er)s?\b|km\b|公里|千米",
    Unit("millimetres", "m", Fraction(1, 1000)): r"millimet(?:re|er)s?\b|mm\b|毫米",
    Unit("centimetres", "m", Fraction(1, 100)): r"centimet(?:re|er)s?\b|cm\b|厘米",
    Unit("metres", "m"): r"met(?:re|er)s?\b|m\b|米",
    Unit("miles", "mile"): r"miles?\b|mi\b|英里",
    Unit("feet", "foot"): r"feet\b|foot\b|ft\b|英尺",
    Unit("kilograms", "g", Fraction(1000)): r"kilograms?\b|kilos?\b|kg\b|公斤|千克",
    Unit("milligrams", "g", Fraction(1, 1000)): r"milligrams?\b|mg\b|毫克",
    Unit("grams", "g"): r"grams?\b|g\b|克",
    Unit("tonnes", "g", Fraction(10**6)): r"tonnes?\b|tons?\b|t\b|吨",
    Unit("pounds (weight)", "lb"): r"lbs?\b|磅",
    Unit("millilitres", "l", Fraction(1, 1000)): r"millilit(?:re|er)s?\b|ml\b|毫升",
    Unit("litres", "l"): r"lit(?:re|er)s?\b|l\b|升",
    Unit("kilowatt hours", "kwh"): r"kilowatt[ -]hours?\b|kwh\b|千瓦时",
    Unit("megawatts", "w", Fraction(10**6)): r"megawatts?\b|mw\b|兆瓦",
    Unit("kilowatts", "w", Fraction(1000)): r"kilowatts?\b|kw\b|千瓦",
    Unit("watts", "w"): r"watts?\b|w\b|瓦",
    Unit("volts", "v"): r"volts?\b|v\b|伏特?",
    Unit("amperes", "a"): r"amperes?\b|amps?\b|安培",
    Unit("gigabytes", "byte", Fraction(10**9)): r"gigabytes?\b|gb\b",
    Unit("megabytes", "byte", Fraction(10**6)): r"megabytes?\b|mb\b",
    Unit("degrees Celsius", "celsius"): r"°\s?c\b|℃|degrees? (?:celsius|c)\b|摄氏度|度(?![假担获当出参访入被夺赴])",
    Unit("degrees Fahrenheit", "fahrenheit"): r"°\s?f\b|degrees? fahrenheit\b|华氏度",
    Unit("percent", "%"): r"%|％|percent\b|per cent\b",
    Unit("euros", "eur"): r"€|euros?\b|eur\b|欧元",
    Unit("cents", "cent"): r"cents?\b|pence\b|美分|欧分",
    Unit("US dollars", "usd"): r"us\$|\$|(?:us )?dollars?\b|usd\b|美元|美金",
    Unit("Hong Kong dollars", "hkd"): r"hk\$|hkd\b|港元|港币",
    Unit("yen", "jpy"): r"yen\b|jpy\b|日元",
    Unit("British pounds", "gbp"): r"£|pounds?(?: sterling)?\b|gbp\b|英镑",
    Unit("yuan", "cny"): r"¥|￥|yuan\b|cny\b|rmb\b|元|块钱|人民币",
    Unit("people", "person"): r"名(?![义称单额字著])|人(?![民次均类口工])",
    Unit("times", "time"): r"次(?![日年月要])|度(?=[担获当出参访入被夺赴])|趟|回(?![合报家收复来])",
    Unit("volumes", "volume"): r"册|本(?![科金息人次届国地市省身体])",
    Unit("episodes", "episode"): r"集(?![团中体合])",
    Unit("seasons", "season"): r"季(?![度节])",
    Unit("storeys", "storey"): r"层(?![次面级])",
    Unit("pages", "page"): r"页",
    Unit("chapters", "chapter"): r"章(?!程)",
    Unit("years old", "age"): r"周?岁",
    Unit("jiao", "cny", Fraction(1, 10)): r"角(?!色|度|落)",
    Unit("kroner", "krone"): r"kron(?:er|or|e)\b|(?:nok|sek|dkk)\b|克朗",
}
_UNITS = [(unit, re.compile(rf"(?:[ -]|个?多|余)?(?:{pattern})", re.IGNORECASE)) for unit, pattern in _TABLE.items()]
_CURRENCIES = [
    (unit, re.compile(rf"(?:{pattern})\s?$", re.IGNORECASE))
    for unit, pattern in _TABLE.items()
    if unit.base in ("eur", "usd", "hkd", "jpy", "gbp", "cny", "krone")
]
_RATES = {
    "minute": (r"minutes?", r"by the minute", r"分钟"),
    "hour": (r"hours?", r"hourly", r"个?小时"),
    "day": (r"days?", r"daily", r"天|日"),
    "night": (r"nights?", r"nightly", r"晚"),
    "week": (r"weeks?", r"weekly", r"周|个?星期"),
    "month": (r"months?", r"monthly", r"个?月"),
    "quarter": (r"quarters?", r"quarterly", r"个?季度"),
    "year": (r"years?|annum", r"yearly|annual|annually", r"年"),
    "kilometre": (r"kilomet(?:re|er)s?|km", r"by the kilometre", r"公里|千米"),
    "mile": (r"miles?", r"by the mile", r"英里"),
}
"""Name -> nouns after "per" or "each", adverbs, Chinese nouns after 每."""
_BEFORE_A = "for within in after than half takes took lasts least most about"
_A = "".join(f"(?<!{word} )" for word in _BEFORE_A.split()) + "an?"
"""An hour, a month: not "for an hour", which is a duration."""
_RATE = {
    name: re.compile(
        rf"\b(?:(?:per|{_A}|each|every)\s(?:{nouns})|{adverbs})\b|/(?:{nouns})\b|每(?:{han})(?!(?<=[周期])[一二三四五六日])",
        re.IGNORECASE,
    )
    for name, (nouns, adverbs, han) in _RATES.items()
}
_MENTIONED = {
    name: re.compile(rf"\b(?:{nouns}|{adverbs})\b|{han}", re.IGNORECASE)
    for name, (nouns, adverbs, han) in _RATES.items()
}


def unit_after(text: str, end: int) -> tuple[Unit, int] | None:
    """The unit that begins at `end` (the longest one), and where it ends."""
    found: tuple[Unit, int] | None = None
    for unit, pattern in _UNITS:
        match = pattern.match(text, end)
        if match and (found is None or match.end() > found[1]):
            found = unit, match.end()
    return found


def same_dimension(one: Unit, two: Unit) -> bool:
    """Whether both measure the same kind of thing: durations, money, lengths, ..."""
    return one.base == two.base or any(one.base in group and two.base in group for group in _DIMENSIONS)


def currency_before(text: str, start: int) -> Unit | None:
    """The currency that ends at `start`: "€950", "EUR 145"."""
    before = text[max(0, start - 5) : start]
    return next((unit for unit, pattern in _CURRENCIES if pattern.search(before)), None)


def rates(text: str) -> set[str]:
    """What is said to hold for each hour, night, month, kilometre, ... ("a month", "monthly", "per km", 每晚)."""
    return {name for name, pattern in _RATE.items() if pattern.search(text)} | ({"hour"} if "时速" in text else set())


def mentions_rate(text: str, name: str) -> bool:
    return _MENTIONED[name].search(text) is not None
