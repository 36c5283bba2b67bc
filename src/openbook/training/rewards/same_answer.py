"""Whether two short answers say the same: numbers however they are written, expressions, lists of them, else texts.

In reading order: the question; LaTeX made plain; values; texts.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from itertools import pairwise

from openbook.training.rewards.expression import NoExpression, Value, value_of

_POINTS = tuple(
    {
        letter: Fraction(7 * at + 3 * place + 5, 2 * place + 3)
        for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
    }
    for at in range(3)
)
_POINTS_ALL = tuple({**one, **{letter.upper(): value + 11 for letter, value in one.items()}} for one in _POINTS)
_REPLACED = (
    (r"\\[dtc]frac", r"\\frac"),
    (r"\\!", ""),
    (r"\\left|\\right|\\displaystyle|\\[,;: ]|\\q?quad|~", " "),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\degree|°", " "),
    (r"\\?[%$]|\\[()\[\]]|％|＄|￥|¥|€|£|\*\*", " "),
    (r"\\(?:text|mathrm|textbf|mathbf|mbox|textit|rm)\s*\{([^{}]*)\}", r" \1 "),
    (r"\{,\}", ","),
    (r"\\cdot|\\times|×|·", "*"),
    (r"\\div|÷", "/"),
    (r"−|–", "-"),
    (r"π", r"\\pi "),
    (r"，", ","),
)
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d+(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?")
_MIXED = re.compile(r"(?<![\w./])(\d+)\s+(\d+)\s*/\s*(\d+)")
_NAMED = re.compile(r"^\s*(?:(?:\\angle\s*)?\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?)?\s*=\s*(?=[^=]+$)")
_MEASURE = r"(?:[a-z]{3,}|[kcmd]?m|[km]?g|[mc]?l|m?L|[sh]|ms|nm|in|ft|yd|mi|oz|lb|hr|yr|kw)"
_MAGNITUDE = r"(?:thousand|million|billion|trillion|hundred|dozen)s?\b"
_LARGER = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LARGE = re.compile(r"(?<=\d)\s+(thousand|million|billion|trillion)\b", re.IGNORECASE)
_UNIT = re.compile(
    rf"(?<=[\d)}}])\s\s*(?!\(?\s*{_MAGNITUDE})(?:\(\s*(?:{_MEASURE}|[A-Za-z]{{3}}[^()+*/^=\d]*)\s*\)"
    rf"|(?:square\s+|cubic\s+)?{_MEASURE}(?:\s*\^\s*\{{?[23]\}}?)?)\s*$"
)
_NOT_ALONE = re.compile(rf"[<>≤≥≠!|±_^=:]|\\[A-Za-z]|\b{_MAGNITUDE}|\b[ap]\.?\s?m\b", re.IGNORECASE)
"""A text with one of these says more than its number."""
_LIST = re.compile(r"^[(\[{]?(.*?)[)\]}]?$", re.DOTALL)
_LONGEST = 2_000


def same_answer(found: str, wanted: str) -> bool:
    """Whether `found` says what `wanted` says. Numbers must be equal exactly: 0.33 is not 1/3."""
    if len(found) > _LONGEST:
        return False
    mine, other = plain(found), plain(wanted)
    if _folded(mine) == _folded(other):
        return True
    if (same := _same_values(mine, other)) is not None:
        return same
    listed, asked = _elements(mine), _elements(other)
    if len(asked) > 1:
        same_ends = _ends(mine) == _ends(other)
        return same_ends and len(listed) == len(asked) and all(map(same_answer, listed, asked))
    value = _constant(other)
    return value is not None and value == _only_number(mine)


def plain(text: str) -> str:
    """LaTeX without what only looks: spacing, fonts, degrees, percent and currency signs, units behind a number."""
    for pattern, put in _REPLACED:
        text = re.sub(pattern, put, text)
    text = _LARGE.sub(lambda found: f"*{_LARGER[found[1].lower()]}", text)
    text = re.sub(r"(?<=[^\W\d_]{2})!+$", "", text.strip().rstrip(".。").strip())  # behind a number it is a factorial
    text = _NAMED.sub("", text)
    text = _MIXED.sub(r"(\1+\2/\3)", text)
    return _UNIT.sub("", text).strip()


def _same_values(mine: str, other: str) -> bool | None:
    """None where one of the two is no expression."""
    try:
        values = [(value_of(mine, point), value_of(other, point)) for point in _POINTS_ALL]
    except NoExpression:
        return None
    return all(_equal(*two) for two in values)


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    try:
        mine, wanted = float(one), float(other)
    except OverflowError:  # a huge fraction beside a number that is not exact
        return False
    return math.isfinite(mine) and math.isclose(mine, wanted, rel_tol=1e-9, abs_tol=1e-12)


def _constant(text: str) -> Value | None:
    try:
        return value_of(text, {})
    except NoExpression:
        return _only_number(text)


def _only_number(text: str) -> Value | None:
    """Of a text of words, as "72 clips"; None where it has no number, several, or something that changes its value."""
    numbers = _NUMBER.findall(text)
    if len(numbers) != 1 or _NOT_ALONE.search(text):
        return None
    try:
        return value_of(numbers[0], {})
    except NoExpression:
        return None


def _elements(text: str) -> list[str]:
    """Of a list: split where a comma stands outside of all brackets."""
    inner = _LIST.sub(r"\1", text.strip().replace("\\{", "{").replace("\\}", "}"))
    depth, places = 0, [-1]
    for place, sign in enumerate(inner):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            places.append(place)
    places.append(len(inner))
    return [inner[begin + 1 : end].strip() for begin, end in pairwise(places)]


def _ends(text: str) -> tuple[str, str]:
    """The brackets around a list: (1, 2) is not [1, 2]."""
    bare = text.strip().replace("\\", "")
    first, last = bare[:1], bare[-1:]
    return (first if first in "([{" else "", last if last in ")]}" else "")


def _folded(text: str) -> str:
    """Without differences of case and white space, nor the full stops of abbreviations."""
    return re.sub(r"\s+|(?<=[^\W\d])\.", "", text.casefold())
