"""Tokenizers of single characters for tests: with a chat template, and with a token of beginning."""

from __future__ import annotations

import string
from typing import Any

import tokenizers
from tokenizers.processors import TemplateProcessing

from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.lm.tokenizers.templates import chat_template
from openbook.lm.tokenizers.tokenizer import Tokenizer

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")


def characters(*, template: str | None = None, bos: bool = False, eos: str | None = "</s>") -> Tokenizer:
    """`bos`: the tokenizer puts <s> before a text. `template`: a chat template, or the name of one that ships."""
    backend = character_tokenizer([string.printable]).backend
    backend.add_special_tokens([tokenizers.AddedToken(one, special=True, normalized=False) for one in SPECIAL])
    if bos:
        backend.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    special: dict[str, Any] = {"bos_token": "<s>"} | ({"eos_token": eos} if eos else {})
    if template is not None:
        template = template if "{" in template else chat_template(template)
    return Tokenizer(backend, special, {"default": template} if template else {}, source="characters")
