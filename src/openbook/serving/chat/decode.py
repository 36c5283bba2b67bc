"""The tokens of an answer as text, as they come. Special tokens have none, but for those that a format is read by."""

from __future__ import annotations

from collections.abc import Sequence

from openbook.lm.tokenizers.stream import ByteStream, Stream, WindowStream
from openbook.lm.tokenizers.tokenizer import Tokenizer

_CONTEXT_TOKENS = 4


def decoder(tokenizer: Tokenizer, shown: frozenset[int] = frozenset(), before: Sequence[int] = ()) -> Stream:
    """`shown`: special tokens that are text here. `before`: tokens in front, for tokenizers whose first word is another."""
    hidden = Hidden(tokenizer, shown)
    if tokenizer.is_byte_level:
        return ByteStream(lambda number: b"" if number in hidden else tokenizer.bytes_of(number))
    stream = WindowStream(tokenizer.decode, tokenizer.token_of, hidden)
    stream.push(before[-_CONTEXT_TOKENS:])
    return stream


class Hidden:
    """Tokens without text: special ones that are not `shown`, and ids for which a model has a row and the tokenizer none."""

    def __init__(self, tokenizer: Tokenizer, shown: frozenset[int] = frozenset()) -> None:
        self._tokenizer, self._special = tokenizer, tokenizer.special_ids - shown

    def __contains__(self, number: object) -> bool:
        assert isinstance(number, int)
        return number in self._special or self._tokenizer.backend.id_to_token(number) is None
