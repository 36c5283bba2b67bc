"""Heading levels and automatic list numbers of Word documents."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"(?:heading|标题|標題|überschrift|titre)\s*(\d)", re.IGNORECASE)
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
    (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
_CHINESE = "零一二三四五六七八九十"


class Styles:
    """Paragraph styles by id: name, outline level, numbering, and the style each is based on."""

    def __init__(self, root: Any) -> None:
        self.names: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self.based_on: dict[str, str] = {}
        self.numbers: dict[str, tuple[str, int]] = {}
        for style in root.iter(f"{W}style") if root is not None else ():
            key = style.get(f"{W}styleId", "")
            self.names[key] = _value(style.find(f"{W}name"))
            self.based_on[key] = _value(style.find(f"{W}basedOn"))
            outline = _value(style.find(f"{W}pPr/{W}outlineLvl"))
            if outline.isdecimal() and int(outline) < 9:
                self.levels[key] = int(outline) + 1
            if (found := _number(style.find(f"{W}pPr"))) is not None:
                self.numbers[key] = found

    def of(self, paragraph: Any) -> tuple[str, int]:
        """(style id, heading level 1..6 or 0) of a paragraph."""
        properties = paragraph.find(f"{W}pPr")
        style = _value(properties.find(f"{W}pStyle")) if properties is not None else ""
        own = _value(properties.find(f"{W}outlineLvl")) if properties is not None else ""
        if own.isdecimal() and int(own) < 9:
            return style, min(6, int(own) + 1)
        return style, self._level(style)

    def _level(self, style: str) -> int:
        for key in self._chain(style):
            if key in self.levels:
                return min(6, self.levels[key])
            if match := _HEADING.match(self.names.get(key, key)):
                return min(6, max(1, int(match.group(1))))
        return 1 if self.is_title(style) else 0

    def is_title(self, style: str) -> bool:
        return self.names.get(style, "").lower() in ("title", "标题")

    def number(self, style: str) -> tuple[str, int] | None:
        return next((self.numbers[key] for key in self._chain(style) if key in self.numbers), None)

    def _chain(self, style: str) -> list[str]:
        chain: list[str] = []
        while style and style not in chain:
            chain.append(style)
            style = self.based_on.get(style, "")
        return chain


class Numbering:
    """Computes "1.", "2.1", "(a)", "第三条", ... as Word shows them; bullets give ""."""

    def __init__(self, root: Any) -> None:
        self.abstract: dict[str, str] = {}
        self.formats: dict[tuple[str, int], tuple[str, str, int]] = {}
        self.counts: dict[str, dict[int, int]] = defaultdict(dict)
        for node in root if root is not None else ():
            if node.tag == f"{W}abstractNum":
                key = node.get(f"{W}abstractNumId", "")
                for level in node.findall(f"{W}lvl"):
                    start = _value(level.find(f"{W}start"))
                    self.formats[key, _int(level.get(f"{W}ilvl"))] = (
                        _value(level.find(f"{W}numFmt")),
                        _value(level.find(f"{W}lvlText")),
                        int(start) if start.isdecimal() else 1,
                    )
            elif node.tag == f"{W}num":
                self.abstract[node.get(f"{W}numId", "")] = _value(node.find(f"{W}abstractNumId"))

    def of(self, paragraph: Any, style: str, styles: Styles) -> tuple[int, str] | None:
        """(depth, label) of a list item; None for a paragraph without numbering."""
        number = _number(paragraph.find(f"{W}pPr")) or styles.number(style)
        if number is None or number[0] in ("", "0") or number[0] not in self.abstract:
            return None
        key, depth = self.abstract[number[0]], number[1]
        counts = self.counts[key]
        _, _, start = self.formats.get((key, depth), ("", "", 1))
        counts[depth] = counts.get(depth, start - 1) + 1
        for deeper in [level for level in counts if level > depth]:
            del counts[deeper]
        return depth, self._label(key, depth, counts)

    def _label(self, key: str, depth: int, counts: dict[int, int]) -> str:
        kind, pattern, _ = self.formats.get((key, depth), ("decimal", f"%{depth + 1}.", 1))
        if kind in ("bullet", "none"):
            return ""

        def shown(match: re.Match[str]) -> str:
            level = int(match.group(1)) - 1
            kind, _, start = self.formats.get((key, level), ("decimal", "", 1))
            return _numeral(counts.get(level, start), kind)

        return re.sub(r"%(\d)", shown, pattern)


def _numeral(value: int, kind: str) -> str:
    match kind:
        case "lowerLetter" | "upperLetter":
            letter = chr(ord("a") + (value - 1) % 26) * ((value - 1) // 26 + 1)
            return letter.upper() if kind == "upperLetter" else letter
        case "lowerRoman" | "upperRoman":
            roman = _roman(value)
            return roman if kind == "upperRoman" else roman.lower()
        case "chineseCounting" | "chineseCountingThousand" | "taiwaneseCountingThousand" | "japaneseCounting":
            return chinese_numeral(value)
        case _:
            return str(value)


def _roman(value: int) -> str:
    text = ""
    for size, letters in _ROMAN:
        text += letters * (value // size)
        value %= size
    return text


def chinese_numeral(value: int) -> str:
    """一 .. 九千九百九十九; larger values as digits."""
    if not 0 < value < 10_000:
        return str(value)
    text, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // unit % 10
        if digit:
            text += ("零" if zero and text else "") + _CHINESE[digit] + name
        zero = digit == 0
    return text.removeprefix("一") if 10 <= value < 20 else text


def _number(properties: Any) -> tuple[str, int] | None:
    node = properties.find(f"{W}numPr") if properties is not None else None
    if node is None or node.find(f"{W}numId") is None:
        return None
    return _value(node.find(f"{W}numId")), _int(_value(node.find(f"{W}ilvl")))


def _int(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _value(node: Any) -> str:
    return str(node.get(f"{W}val", "")) if node is not None else ""
