"""What each token stands for, in bytes, whatever the kind of tokenizer: what grammars and log-probabilities are told by."""

from __future__ import annotations

import json
import re

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.tokenizer import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: Tokenizer, number: int) -> bytes:
    """The bytes of token `number`, as they stand in the middle of a text; none for an id without a token."""
    token: str | None = tokenizer.backend.id_to_token(number)
    if token is None:
        return b""
    if number in tokenizer.special_ids:
        return token.encode()
    if tokenizer.is_byte_level:
        return tokenizer.bytes_of(number)
    if found := _BYTE.fullmatch(token):
        return bytes([int(found[1], 16)])
    return token.replace("▁", " ").encode()


def check_has_bytes(tokenizer: Tokenizer) -> None:
    """UsageError for a tokenizer whose tokens are no pieces of text that simply follow one another."""
    if tokenizer.is_byte_level:
        return
    decoder = json.loads(tokenizer.backend.decoder.__getstate__()) if tokenizer.backend.decoder is not None else {}
    kinds = {decoder.get("type"), *(one.get("type") for one in decoder.get("decoders", []))}
    if not kinds & {"ByteFallback", "Metaspace"}:
        raise UsageError(
            f"the tokens of {tokenizer.source} are no pieces of text, so that no grammar can be followed",
            "use a model with a byte-level or SentencePiece tokenizer, or ask without a format",
        )
