"""A stored cell value as Excel displays it: number formats for numbers, percentages, currencies, dates and text.

Source: ECMA-376 part 1, 18.8.30 and 18.8.31. Fractions ("# ?/?") and colours have no effect on the text here.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from functools import lru_cache

BUILTIN: dict[int, str] = {
    0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: "$#,##0_);($#,##0)", 6: "$#,##0_);($#,##0)",
    7: "$#,##0.00_);($#,##0.00)", 8: "$#,##0.00_);($#,##0.00)", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?",
    13: "# ??/??", 14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM",
    20: "h:mm", 21: "h:mm:ss", 22: "yyyy-mm-dd h:mm", 27: 'yyyy"年"m"月"', 28: 'm"月"d"日"', 29: 'm"月"d"日"',
    30: "m-d-yy", 31: 'yyyy"年"m"月"d"日"', 32: 'h"时"mm"分"', 33: 'h"时"mm"分"ss"秒"', 36: 'yyyy"年"m"月"',
    37: "#,##0_);(#,##0)", 38: "#,##0_);(#,##0)", 39: "#,##0.00_);(#,##0.00)", 40: "#,##0.00_);(#,##0.00)",
    41: "#,##0", 42: "$#,##0", 43: "#,##0.00", 44: "$#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0",
    48: "##0.0E+0", 49: "@", 50: 'yyyy"年"m"月"', 57: 'yyyy"年"m"月"', 58: 'm"月"d"日"',
}  # fmt: skip
"""Format codes by id. 14 and 22 depend on the reader's region in Excel; here they are ISO dates."""

_EPOCH_1900 = datetime.datetime(1899, 12, 30)
_EPOCH_1904 = datetime.datetime(1904, 1, 1)
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_.|\*.|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]|\[(?P<elapsed>[hms]+)\]'
    r"|\[[^\]]*\]|(?P<ampm>AM/PM|A/P|上午/下午)|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?|e+|a{3,4})"
    r"|(?P<number>[#0?,.]+(?:E[+-][#0?]+)?)|(?P<percent>%)|(?P<general>General)|(?P<text>@)|(?P<literal>.)",
    re.IGNORECASE,
)


class Token(tuple[str, str]):
    """(kind, text) of a piece of a format code."""

    __slots__ = ()


@lru_cache(maxsize=4096)
def _sections(code: str) -> list[list[Token]]:
    sections: list[list[Token]] = [[]]
    for match in _TOKEN.finditer(code):
        if match.lastgroup is None:
            continue  # padding, colours, conditions
        text = match.group(match.lastgroup)
        if match.lastgroup == "literal" and text == ";":
            sections.append([])
        else:
            kind = "literal" if match.lastgroup in ("quoted", "escaped", "currency") else match.lastgroup
            sections[-1].append(Token((kind, text)))
    return sections


def is_date(code: str) -> bool:
    return any(kind in ("date", "elapsed", "ampm") for kind, _ in _sections(code)[0])


def display(value: float, code: str, *, is_1904: bool = False) -> str:
    """`value` under the format `code`; a general number has at most ten digits, as in a cell of usual width."""
    sections = _sections(code)
    if is_date(code):
        return _date(value, sections[0], is_1904)
    number = value
    if value < 0 and len(sections) > 1:
        tokens, number = sections[1], -value
    elif value == 0 and len(sections) > 2:
        tokens = sections[2]
    else:
        tokens = sections[0]
    if not any(kind in ("number", "general", "text") for kind, _ in tokens):
        return "".join(text for kind, text in tokens) if tokens else ("" if len(sections) > 1 else general(value))
    return _number(number, tokens)


def general(value: float) -> str:
    if value == int(value) and abs(value) < 1e11:
        return str(int(value))
    text = f"{value:.10g}"
    return text.replace("e", "E") if "e" in text else text


def moment(value: float, is_1904: bool = False) -> datetime.datetime | None:
    """The date of a serial number; None where it is none (negative, beyond the year 9999)."""
    epoch = _EPOCH_1904 if is_1904 else _EPOCH_1900
    if not is_1904 and 0 < value < 60:
        epoch += datetime.timedelta(days=1)  # Excel believes in 29 February 1900
    try:
        return epoch + datetime.timedelta(milliseconds=round(value * 86_400_000))
    except OverflowError:
        return None


def _number(value: float, tokens: list[Token]) -> str:
    value *= 100.0 ** sum(kind == "percent" for kind, _ in tokens)
    pattern = "".join(text for kind, text in tokens if kind == "number")
    pieces: list[str] = []
    done = False
    for kind, text in tokens:
        if kind == "number":
            if not done:
                pieces.append(_digits(value, pattern))
            done = True
        elif kind in ("general", "text"):
            pieces.append(general(value))
        else:
            pieces.append(text)
    text = "".join(pieces).strip()
    return f"-{text.replace('-', '', 1)}" if value < 0 and "-" in text and not text.startswith("-") else text


def _digits(value: float, pattern: str) -> str:
    """`value` under a run of 0 # ? , . and E+00."""
    if "E" in pattern.upper():
        mantissa = pattern.upper().split("E")[0]
        places = len(mantissa.split(".", 1)[1]) if "." in mantissa else 0
        text = f"{value:.{places}E}"
        head, exponent = text.split("E")
        return f"{head}E{exponent[0]}{exponent[1:].zfill(2)}"
    whole, _, fraction = pattern.partition(".")
    last = fraction or whole  # each comma after the last digit divides by a thousand
    value /= 1000.0 ** (len(last) - len(last.rstrip(",")))
    fraction = fraction.rstrip(",")
    needed = fraction.count("0")
    text = f"{_rounded(abs(value), len(fraction)):.{len(fraction)}f}"
    integer, _, decimals = text.partition(".")
    while len(decimals) > needed and decimals.endswith("0"):
        decimals = decimals[:-1]
    least = whole.count("0")
    integer = "" if least == 0 and integer == "0" and decimals else integer.zfill(least)
    if "," in whole.rstrip(","):
        integer = f"{int(integer or 0):,}" if len(integer) <= 300 and not integer.startswith("0") else integer
    sign = "-" if value < 0 and any(c in "123456789" for c in integer + decimals) else ""
    return sign + integer + ("." + decimals if decimals else "")


def _rounded(value: float, places: int) -> float:
    """Half away from zero on the decimal digits, as Excel does: 2.675 is 2.68."""
    if value > 1e15 or math.isnan(value):
        return value
    exact = decimal.Decimal(repr(value))
    return float(exact.quantize(decimal.Decimal(1).scaleb(-places), rounding=decimal.ROUND_HALF_UP))


def _date(value: float, tokens: list[Token], is_1904: bool) -> str:
    when = moment(value, is_1904)
    if when is None or value < 0:
        return general(value)
    is_12_hours = any(kind == "ampm" for kind, _ in tokens)
    pieces: list[str] = []
    for at, (kind, text) in enumerate(tokens):
        if kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[text[0].lower()]
            pieces.append(str(int(round(value * 86400) // unit)).zfill(len(text)))
        elif kind == "ampm":
            marks = ("上午", "下午") if text.startswith("上") else (text.split("/")[0], text.split("/")[-1])
            pieces.append(marks[when.hour >= 12])
        elif kind == "date":
            minutes = text[0].lower() == "m" and _is_minutes(tokens, at)
            pieces.append(_date_part(when, text.lower(), minutes, is_12_hours))
        elif (kind == "number" and set(text) <= {".", ","}) or kind not in ("general", "text", "number"):
            pieces.append(text)
    return "".join(pieces).strip()


def _is_minutes(tokens: list[Token], at: int) -> bool:
    """An m next to hours or seconds is minutes, else it is a month."""
    before = next((text[0].lower() for kind, text in reversed(tokens[:at]) if kind in ("date", "elapsed")), "")
    after = next((text[0].lower() for kind, text in tokens[at + 1 :] if kind in ("date", "elapsed")), "")
    return before == "h" or after == "s"


def _date_part(when: datetime.datetime, text: str, minutes: bool, is_12_hours: bool) -> str:
    width = len(text)
    match text[0]:
        case "y" | "e":
            return f"{when.year % 100:02d}" if width <= 2 and text[0] == "y" else f"{when.year:04d}"
        case "m" if minutes:
            return str(when.minute).zfill(min(width, 2))
        case "m":
            name = _MONTHS[when.month - 1]
            return {3: name[:3], 4: name, 5: name[:1]}.get(width, str(when.month).zfill(min(width, 2)))
        case "d":
            day = _DAYS[when.weekday()]
            return {3: day[:3], 4: day}.get(width, str(when.day).zfill(min(width, 2)))
        case "a":
            return ("星期" if width == 4 else "周") + "一二三四五六日"[when.weekday()]
        case "h":
            hour = (when.hour % 12 or 12) if is_12_hours else when.hour
            return str(hour).zfill(min(width, 2))
        case _:
            whole, _, fraction = text.partition(".")
            shown = str(when.second).zfill(min(len(whole), 2))
            return shown + (f".{when.microsecond:06d}"[: 1 + len(fraction)] if fraction else "")
