"""A tokenizer whose tokens are single characters: for small models of small texts, and for tests."""

from __future__ import annotations

from collections.abc import Iterable

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer

UNKNOWN = "<unk>"


def character_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """One token for each character that occurs, in the order of code points, and one for all others.

    A carriage return or any other character is a token like the rest: nothing is normalised. UsageError without any text.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    known = sorted(set().union(*map(set, texts)))
    if not known:
        raise UsageError("there is no text to take characters from", "give files with text in them")
    vocabulary = {UNKNOWN: 0} | {character: place for place, character in enumerate(known, 1)}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("[\\s\\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([tokenizers.AddedToken(UNKNOWN, special=True, normalized=False)])
    return Tokenizer(backend, {"unk_token": UNKNOWN}, source="the characters of the text")
