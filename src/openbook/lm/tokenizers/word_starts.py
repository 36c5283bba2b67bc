"""Which tokens begin a word: what hiding whole words needs to know."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer


def word_starts(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """(V,) whether a token begins a word; special tokens do.

    WordPiece says it with "##", byte-level BPE with a space before the word, SentencePiece with "▁"; in the two latter what is no
    letter or digit is a word too. A Chinese character is a word of WordPiece; the others join what no space parts. UsageError for
    a tokenizer that does not say it.
    """
    backend = tokenizer.backend
    kind = json.loads(backend.to_str())["model"]["type"]
    starts = np.ones(tokenizer.vocab_size, np.bool_)
    for token, number in backend.get_vocab().items():
        if number not in tokenizer.special_ids:
            starts[number] = _begins(token, kind, tokenizer, number)
    return starts


def _begins(token: str, kind: str, tokenizer: Tokenizer, number: int) -> bool:
    if kind == "WordPiece":
        return not token.startswith("##")
    if tokenizer.is_byte_level:
        text = tokenizer.bytes_of(number).decode("utf-8", "ignore")
        first = text[:1]
        return bool(first) and not first.isalnum()  # bytes within a character go on with it
    if kind in ("Unigram", "BPE"):
        return token.startswith("▁") or not token[:1].isalnum()
    raise UsageError(
        f"{tokenizer.source} does not say where words begin ({kind})", "leave out masked.whole_words, or use WordPiece"
    )
