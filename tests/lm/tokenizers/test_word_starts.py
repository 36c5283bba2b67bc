"""Where words begin, in each kind of tokenizer."""

from __future__ import annotations

from itertools import groupby

import pytest

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.lm.tokenizers.train import train
from openbook.lm.tokenizers.word_starts import word_starts

TEXT = "Unreasonable answers, unbelievably well-known: 42 of them. "


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    starts, ids = word_starts(tokenizer), tokenizer.encode(text, add_special_tokens=False)
    numbers, count = [], 0
    for one in ids:
        count += int(starts[one])
        numbers.append(count)
    groups = groupby(zip(numbers, ids, strict=True), key=lambda pair: pair[0])
    return [tokenizer.decode([one for _, one in group]).strip() for _, group in groups]


@pytest.mark.parametrize(
    "tokenizer",
    [default_tokenizer(1_000), train("wordpiece", [TEXT * 3], 70), train("unigram", [TEXT * 3, "abcdefg"], 330)],
    ids=["bytes", "wordpiece", "unigram"],
)
def test_words_are_found(tokenizer: Tokenizer) -> None:
    found = words(tokenizer, TEXT.strip())
    for word in ("answers", "unbelievably", "them"):
        assert word in found
    assert len(found) < len(tokenizer.encode(TEXT, add_special_tokens=False))


def test_characters_do_not_say_it() -> None:
    with pytest.raises(UsageError, match="does not say where words begin"):
        word_starts(character_tokenizer(["ab"]))
