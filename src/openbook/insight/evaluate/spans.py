"""How good extracted answers are: exact match and F1 of words, as SQuAD's evaluation counts them.

Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1: case, punctuation, the articles and white space do
not count, and the best of the annotated answers does. Signs of Chinese are words each, as CMRC's evaluation has it (Cui et al.
2019, https://arxiv.org/abs/1810.07366).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "，。、；：？！“”‘’（）《》【】…—")
_HAN = re.compile(r"([一-鿿])")


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(found: str, answers: Sequence[str]) -> float:
    """1.0 where one of the answers is found; without answers, where nothing is."""
    return float(normalised(found) in {normalised(one) for one in answers} if answers else not found.strip())


def f1(found: str, answers: Sequence[str]) -> float:
    """Of the words, the best over the answers; without answers, 1.0 where nothing is found."""
    if not answers:
        return float(not found.strip())
    return max(_f1(_words(found), _words(one)) for one in answers)


def _words(text: str) -> list[str]:
    return _HAN.sub(r" \1 ", normalised(text)).split()


def _f1(found: list[str], answer: list[str]) -> float:
    if not found or not answer:
        return float(found == answer)
    shared = sum((Counter(found) & Counter(answer)).values())
    return 2 * shared / (len(found) + len(answer))
