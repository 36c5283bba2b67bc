"""The marks of a written answer: [1], [1][3], [1, 2], [1-3], 【1】, [^1], ［１］; taken out and given to sentences."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from openbook.library.split.sentences import sentence_spans

_NUMBER = r"\^?\s*(?:passages?|sources?|资料|段落|来源)?\s*\d{1,3}"
_MARK = re.compile(
    rf"\s{{0,8}}[\[【［]\s{{0,3}}({_NUMBER}(?:\s{{0,3}}(?:[,，、;；\-–~]|and|和)\s{{0,3}}{_NUMBER})*)\s{{0,3}}(?:†[^\]】］]{{0,200}})?[\]】］]"
    r"(?:\([^()\s]{1,300}\))?",  # a mark that was made a link: where it leads is not ours to repeat
    re.IGNORECASE,
)
_ONE = re.compile(r"(\d{1,3})(?:\s*[-–~]\s*(\d{1,3}))?")
_WIDEST_RANGE = 20
_SAYS = re.compile(r"\w")


@dataclass(frozen=True)
class Marked:
    """`start:end` of the clean text, a sentence, with the passage numbers that were set after it, in order."""

    start: int
    end: int
    numbers: tuple[int, ...]


def take_marks(text: str) -> tuple[str, list[Marked]]:
    """The text without its marks, and its sentences with theirs. A mark belongs to the sentence that it ends."""
    clean, places = _without_marks(text.strip())
    spans = [
        span
        for start, end in _lines(clean)
        for span in sentence_spans(clean, start, end)
        if _SAYS.search(clean[slice(*span)])
    ]
    numbers: list[dict[int, None]] = [{} for _ in spans]
    for place, found in places:
        index = _owner(spans, place)
        if index is not None:
            numbers[index] |= dict.fromkeys(found)
    return clean, [Marked(*span, tuple(found)) for span, found in zip(spans, numbers, strict=True)]


def _without_marks(text: str) -> tuple[str, list[tuple[int, list[int]]]]:
    """The clean text, and for each mark where it stood in it."""
    parts: list[str] = []
    places: list[tuple[int, list[int]]] = []
    size = last = 0
    for match in _MARK.finditer(text):
        before = text[last : match.start()]
        parts.append(before)
        size += len(before)
        last = match.end()
        after = text[last : last + 1]
        joined = size and not parts[-1][-1:].isspace() and after.isalnum()
        gap = (
            "\n"
            if "\n" in match[0].partition("[")[0] and after not in "\n"
            else " "
            if joined and after.isascii()
            else ""
        )
        if gap == "\n":
            last += len(text[last:]) - len(text[last:].lstrip(" \t"))
        parts.append(gap)
        places.append((size + (gap == "\n"), _numbers(match[1])))  # a mark that begins a line is of what follows
        size += len(gap)
    return "".join([*parts, text[last:]]), places


def _numbers(inner: str) -> list[int]:
    found: list[int] = []
    for first, last in _ONE.findall(unicodedata.normalize("NFKC", inner)):
        low, high = int(first), int(last or first)
        found += range(low, high + 1) if low <= high <= low + _WIDEST_RANGE else [low, high]
    return found


def _lines(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\n]+", text)]


def _owner(spans: list[tuple[int, int]], place: int) -> int | None:
    """The sentence that ends at or after `place` and begins before it; at a line's start, the one that follows."""
    for index, (start, end) in enumerate(spans):
        if place <= end and place > start:
            return index
        if place <= start:
            near = index > 0 and start - spans[index - 1][1] > 0 and place <= start - 1
            return index - 1 if near else index
    return len(spans) - 1 if spans else None
