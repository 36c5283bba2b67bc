"""Words for comparing texts: lower case, without punctuation; a Chinese character is a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def grams(found: list[str], size: int) -> Iterator[str]:
    """Runs of `size` words; of a shorter text the one run that it is."""
    if found:
        for at in range(max(len(found) - size, 0) + 1):
            yield " ".join(found[at : at + size])
