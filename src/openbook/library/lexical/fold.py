"""One spelling for search: full width, case, diacritics and traditional Chinese folded away.

Index and query are folded alike; the text that is shown and quoted is never touched.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files

_ACCENTED = re.compile("[\u00c0-\u024f\u0300-\u036f\u0370-\u052f\u1e00-\u1fff]")
_MARKS = re.compile("[\u0300-\u036f]+")


def fold(text: str) -> str:
    """`text` in compatibility form, lower case, without the diacritics of Latin, Greek and Cyrillic letters.

    Han characters keep their form here (see `simplify`); marks of other scripts carry meaning and stay.
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).casefold()
    if _ACCENTED.search(text):
        text = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFKD", text)))
    return text


def simplify(text: str) -> str:
    """Each traditional Chinese character of `text` replaced by its simplified form; the length stays."""
    return text.translate(_simplified())


@cache
def _simplified() -> dict[int, str]:
    """Traditional -> simplified, one character to one: OpenCC's TSCharacters, first variant (Apache-2.0)."""
    lines = (files(__package__) / "ts_characters.txt").read_text("utf-8").splitlines()
    pairs = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {ord(traditional): simplified for traditional, simplified in pairs}
