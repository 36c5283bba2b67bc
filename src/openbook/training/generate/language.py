"""Which language a text is in, as far as training data must know: Chinese where a good part of its letters are Chinese."""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["en", "zh", "other"]
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LATIN = re.compile(r"[A-Za-z]+")
_LETTERS = re.compile(r"[^\W\d_]")
_SHARE = 0.3


def language_of(text: str) -> Language:
    """A Chinese character counts as much as an English word; "other" where neither is most of what is there. "en" for a text
    without letters (numbers, formulas).
    """
    chinese, latin = len(_CHINESE.findall(text)), len(_LATIN.findall(text))
    letters = len(_LETTERS.findall(text))
    if not letters:
        return "en"
    if len(_KANA.findall(text)) > _SHARE * letters:
        return "other"
    if chinese and chinese >= _SHARE * (chinese + latin):
        return "zh"
    return "en" if sum(map(len, _LATIN.findall(text))) >= (1 - _SHARE) * letters else "other"
