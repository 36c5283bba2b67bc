"""The tokenizer that new models get: 8,192 tokens of byte-level BPE, learned from English, Chinese and code.

What it was learned from, under which licences, and how to learn it again stands in built_in/README.md.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.formats import FORMATS
from openbook.lm.tokenizers.templates import chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer

VOCAB_SIZE = 8_192


def default_tokenizer(vocab_size: int = VOCAB_SIZE, chat: str = "chatml") -> Tokenizer:
    """The built-in tokenizer. A smaller `vocab_size` leaves out the merges that were learned last; the smallest has none.

    `chat`: a format of ChatML's tokens ("chatml", "qwen3"). Raises UsageError for a size or a format that it does not have.
    """
    import tokenizers

    form = FORMATS.get(chat)
    if form is None or form != FORMATS["chatml"]:
        raise UsageError(f"the built-in tokenizer has no tokens of {chat!r}", "choose chatml or qwen3, or train one")
    smallest = 256 + len(form.special) + len(form.plain)
    if not smallest <= vocab_size <= VOCAB_SIZE:
        raise UsageError(
            f"vocab_size is {vocab_size}", f"the built-in tokenizer has {smallest} to {VOCAB_SIZE:,} tokens"
        )
    plain = json.loads(files(__package__).joinpath("built_in/tokenizer.json").read_text("utf-8"))
    backend = tokenizers.Tokenizer.from_str(json.dumps(_shortened(plain, vocab_size - VOCAB_SIZE)))
    settings: dict[str, Any] = {"clean_up_tokenization_spaces": False, "add_bos_token": False}
    return Tokenizer(
        backend, form.named, {"default": chat_template(chat)}, settings=settings, source="the built-in tokenizer"
    )


def _shortened(plain: dict[str, Any], by: int) -> dict[str, Any]:
    """Without the last `-by` merges and their tokens; the added tokens keep their place behind the others."""
    if by == 0:
        return plain
    model = plain["model"]
    left_out = {left + right for left, right in model["merges"][by:]}
    kept = {token: number for token, number in model["vocab"].items() if token not in left_out}
    added = [token | {"id": token["id"] + by} for token in plain["added_tokens"]]
    return plain | {"model": model | {"vocab": kept, "merges": model["merges"][:by]}, "added_tokens": added}
