"""What a user typed as a query: plain words, "quoted phrases", prefix* and -excluded.

Everything else, FTS operators and lone quotes among it, is text. The expressions for the full-text table are made of
letters and digits in quotation marks only, so no query can be a syntax error there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from openbook.library.lexical.tokenize import sequence

_PART = re.compile(
    r"""(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]*)"     # "a phrase", -"a phrase"
    | (?<!\S)-(?P<excluded>[^\W\d][^\s"]*)          # -word; -5 and a lone dash are text
    | (?<!\S)(?P<prefix>[^\s"*]*\w)\*(?!\S)         # prefix*
    """,
    re.VERBOSE,
)


class Query(NamedTuple):
    """`text`: what is searched for by words and meaning, phrases and prefixes without their marks among it."""

    text: str
    phrases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    excluded_phrases: tuple[str, ...] = ()

    def required(self) -> list[str]:
        """FTS5 expressions that every passage must match."""
        found = [to_fts5(phrase) for phrase in self.phrases]
        found += [to_fts5(prefix, is_prefix=True) for prefix in self.prefixes]
        return [expression for expression in found if expression]

    def excluded(self) -> list[str]:
        """FTS5 expressions that no passage may match."""
        return [expression for expression in map(to_fts5, self.excluded_phrases) if expression]


def parse_query(typed: str) -> Query:
    """The parts of a query. One that would leave nothing to search for (only exclusions) is plain text as a whole."""
    phrases: list[str] = []
    prefixes: list[str] = []
    excluded: list[str] = []

    def take(match: re.Match[str]) -> str:
        phrase, word, prefix = match["phrase"], match["excluded"], match["prefix"]
        if word is not None or match["minus"]:
            excluded.append(word if word is not None else phrase)
            return " "
        if prefix is not None:
            prefixes.append(prefix)
            return prefix
        phrases.append(phrase)
        return f" {phrase} "

    text = " ".join(_PART.sub(take, typed).split())
    if not sequence(text):
        return Query(typed)
    return Query(text, tuple(phrases), tuple(prefixes), tuple(excluded))


def to_fts5(text: str, *, is_prefix: bool = False) -> str:
    """An FTS5 expression for the words of `text` side by side, the last one a prefix if asked; "" without any word."""
    words = sequence(text)
    if not words:
        return ""
    return f'"{" ".join(words)}"' + (" *" if is_prefix else "")
