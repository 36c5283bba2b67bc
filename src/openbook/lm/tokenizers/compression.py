"""How short a tokenizer writes a text, by language: what a model reads in one context, and what a token costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from openbook.lm.tokenizers.corpus import CorpusFile, texts_of
from openbook.lm.tokenizers.tokenizer import Tokenizer

Language = Literal["English", "Chinese", "code", "other"]
LANGUAGES: tuple[Language, ...] = ("English", "Chinese", "code", "other")
_HAN_SHARE = 0.3
_LATIN_SHARE = 0.95


class Compression(NamedTuple):
    """Of one tokenizer on the text of one language. `bytes`: of UTF-8; `unknown`: tokens that stand for anything unknown."""

    language: Language
    bytes: int
    characters: int
    tokens: int
    unknown: int

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def tokens_per_character(self) -> float:
        return self.tokens / self.characters if self.characters else 0.0


def language_of(text: str) -> Language:
    """English or Chinese by the share of its letters that are ASCII or Han; a guess for prose, line by line."""
    letters = [sign for sign in text if sign.isalpha()]
    if not letters:
        return "other"
    if sum("\u3400" <= sign <= "\u9fff" for sign in letters) >= _HAN_SHARE * len(letters):
        return "Chinese"
    return "English" if sum(map(str.isascii, letters)) >= _LATIN_SHARE * len(letters) else "other"


def split_by_language(files: Iterable[CorpusFile]) -> dict[Language, list[str]]:
    """The lines of `files`; those of source files are code. Lines of nothing but white space are left out."""
    found: dict[Language, list[str]] = {language: [] for language in LANGUAGES}
    for file in files:
        for text in texts_of(file):
            for line in text.splitlines(keepends=True):
                if line.strip():
                    found["code" if file.is_code else language_of(line)].append(line)
    return found


def compression(tokenizer: Tokenizer, lines: Sequence[str], language: Language) -> Compression:
    """Special tokens are not added, so that only the text is counted."""
    ids = tokenizer.encode_batch(lines, add_special_tokens=False)
    unknown = tokenizer.special.get("unk_token")
    number = None if unknown is None else tokenizer.backend.token_to_id(unknown)
    return Compression(
        language,
        sum(len(line.encode("utf-8", "replace")) for line in lines),
        sum(map(len, lines)),
        sum(map(len, ids)),
        0 if number is None else sum(one.count(number) for one in ids),
    )
