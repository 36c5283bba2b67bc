"""What a text is searched by: its terms.

Chinese becomes words (rjieba) and character bigrams; other scripts words, English ones stemmed. Numbers, versions,
dates, codes, e-mail addresses, snake_case and camelCase names are terms of their own, and findable by their parts.
`terms` is for BM25, `sequence` for phrases and prefixes; both fold index and query alike.
"""

from __future__ import annotations

import re
from itertools import pairwise

from openbook.library.lexical.fold import fold, simplify
from openbook.library.lexical.stem import stem_english
from openbook.library.lexical.stopwords import STOPWORDS

TOKENIZER_VERSION = "1"
"""Changes whenever the terms of any text change: part of a library generation's identity."""

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\uac00-\ud7af"  # Thai, Lao, Burmese, Khmer, kana, hangul
)
_LETTER = rf"[^\W{_HAN}{_UNSPACED}]"
_TOKEN = re.compile(rf"[{_HAN}]+|[{_UNSPACED}]+|{_LETTER}+(?:[-'’.,:/@+&]{_LETTER}+)*(?:\+\+|#(?!\w))?")
_IS_HAN = re.compile(f"[{_HAN}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_PART = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"\b[A-Za-z]*[a-z][A-Z][A-Za-z0-9]*\b")
_CAMEL_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)([a-z]{1,4})")
_CODE = re.compile(r"[0-9_@+#]")
_SEQUENCE_PIECE = re.compile(rf"[{_HAN}{_UNSPACED}]|[^\W_{_HAN}{_UNSPACED}]+")
_CACHE_ENTRIES = 50_000
"""Words remembered: the frequent ones of a library; more of them would grow with it in every worker."""
_cache: dict[str, tuple[str, ...]] = {}


def terms(text: str) -> list[str]:
    """The terms of `text`, repetitions included: what BM25 counts. Those of Chinese runs come last."""
    found: list[str] = []
    chinese: list[str] = []
    for token in tokens(text):
        known = _cache.get(token)
        if known is not None:
            found += known
        elif _IS_HAN.match(token):
            chinese.append(token)
        else:
            found += _remembered(token)
    return found + _chinese("\n".join(chinese)) if chinese else found


def query_terms(text: str) -> list[str]:
    """The terms of a query without those that say nothing (the, of, 的), unless nothing else is left."""
    found = terms(text)
    return [term for term in found if term not in STOPWORDS] or found


def tokens(text: str) -> list[str]:
    """Folded runs of one script, names and numbers in one piece; the words of a camelCase name follow at the end."""
    found = _TOKEN.findall(fold(text))
    if _CAMEL.search(text):
        for name in _CAMEL.findall(text):
            found += _CAMEL_PART.findall(name)
        found = [token.lower() if token.isascii() else token for token in found]
    return found


def _remembered(token: str) -> tuple[str, ...]:
    """The terms of one folded run that is not Chinese; those of words are noted in a bounded cache, numbers seldom repeat."""
    found = tuple(_bigrams(token)) if _IS_UNSPACED.match(token) else tuple(_words(token))
    if not token.isalpha():
        return found
    if len(_cache) >= _CACHE_ENTRIES:
        _cache.clear()
    _cache[token] = found
    return found


def _chinese(runs: str) -> list[str]:
    """Words and bigrams of runs parted by line breaks: one call for a text's many short runs.

    A word of two characters counts twice: it is surer than a bigram across a border.
    """
    import rjieba  # reads its word list, about 0.1 s: not for a query without Chinese

    simplified = simplify(runs)
    words = [word for word in rjieba.cut(simplified) if word != "\n"]
    return words + [a + b for a, b in pairwise(simplified) if a != "\n" and b != "\n"]


def _bigrams(run: str) -> list[str]:
    return [a + b for a, b in pairwise(run)] if len(run) > 1 else [run]


def _words(token: str) -> list[str]:
    """A token of letters and digits as terms: itself where it is a number, name or code, and its stemmed parts."""
    if token.isalpha():
        return [_stem(token)]
    if _NUMBER.fullmatch(token):
        return [token]
    if _GROUPED.fullmatch(token):
        return [token.replace(",", "")]
    measure = _MEASURE.fullmatch(token)
    if measure:
        return [token, measure[1], _stem(measure[2])]
    parts = [_stem(part) for part in _PART.findall(_without_possessive(token))]
    is_code = _CODE.search(token) is not None and parts != [token]
    return [token, *parts] if is_code else parts


def _without_possessive(token: str) -> str:
    return token[:-2] if token.endswith(("'s", "’s")) else token


def _stem(word: str) -> str:
    return stem_english(word) if word.isascii() and word.isalpha() else word


def sequence(text: str) -> list[str]:
    """The words of `text` in order, unstemmed, one per Han character: for phrases and prefixes.

    Every element consists of letters and digits only, so a full-text table that splits at anything else (FTS5's
    `unicode61`) keeps it whole, and a quotation of the text is always a run of neighbours.
    """
    found: list[str] = []
    for part in _PART.findall(fold(text)):
        if _IS_HAN.search(part) or _IS_UNSPACED.search(part):
            found += _SEQUENCE_PIECE.findall(simplify(part))
        else:
            found.append(part)
    return found
