"""Where sentences end, in English and in Chinese, as spans of the text: nothing is lost between them but white space."""

from __future__ import annotations

import re

Span = tuple[int, int]

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sr jr st vs etc inc ltd co corp fig figs no nos vol pp ca cf al approx dept est gen gov hon lt maj "
    "col capt sgt rev sen rep mt ft ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e a.m p.m u.s u.k "
    "u.n ph.d b.a m.a d.c art sec eq ref ed eds trans".split()
)
_END = re.compile(
    r"""
    (?: [。！？；]+ [”’』」）】》〉]* )+           # Chinese: the mark, then what closes with it, perhaps again
    | …{2,} [”’』」）】]*
    | [.!?]+ ["'”’)\]]*                           # others: the mark, what closes with it,
      (?: \[[^\[\]\n]{1,30}\] | :\d[\d,:–-]* )*     # a reference such as [12], [citation needed] or :33,
      (?=\s|$|[一-鿿])                            # then a gap
    | \n\s*\n                                    # a blank line
    """,
    re.VERBOSE,
)
_WORD_BEFORE = re.compile(r"([A-Za-z][A-Za-z.]*)$")
_NUMBER_BEFORE = re.compile(r"(?:^|\s)\d{1,3}$")


def sentence_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """(start, end) of each sentence of `text[start:end]`, without the white space around it, in order."""
    end = len(text) if end is None else end
    spans: list[Span] = []
    begin = start
    for match in _END.finditer(text, start, end):
        if match[0][0] in ".!?" and not _ends_sentence(text, match.start(), match.end(), begin, end):
            continue
        _append(spans, text, begin, match.end())
        begin = match.end()
    _append(spans, text, begin, end)
    return spans


def _ends_sentence(text: str, mark: int, after: int, begin: int, end: int) -> bool:
    """Whether the mark at `mark` ends a sentence: not after an abbreviation or an initial, nor before a small letter."""
    following = text[after : min(after + 40, end)].lstrip()[:1]
    if following and (following.islower() or following in ",;:)"):
        return False
    if text[mark] != "." or after - mark > 1:
        return True
    before = text[max(begin, mark - 20) : mark]
    word = _WORD_BEFORE.search(before)
    if word is not None:
        name = word[1].lower()
        return not (name in _ABBREVIATIONS or (len(word[1]) == 1 and word[1].isupper() and bool(following)))
    return not (mark - begin <= 4 and _NUMBER_BEFORE.search(before))


def _append(spans: list[Span], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        spans.append((start, end))
