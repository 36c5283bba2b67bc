"""The special tokens that an objective needs: a fresh model's tokenizer gets those that it lacks."""

from __future__ import annotations

from openbook.lm.tokenizers.added import ends_of, with_tokens
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.recipe import ObjectiveName

BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
T5 = {"pad_token": "<pad>", "eos_token": "</s>"}
SENTINELS = 100
"""As many as T5 has."""


def sentinel(number: int) -> str:
    """What stands for span `number` of a text, as T5 spells it."""
    return f"<extra_id_{number}>"


def with_special_tokens(tokenizer: Tokenizer, objective: ObjectiveName) -> Tokenizer:
    """`tokenizer` where the objective needs nothing more."""
    is_bare = not any(ends_of(tokenizer))
    match objective:
        case "masked":
            around: tuple[str, ...] = ("cls_token", "sep_token") if is_bare else ()
            return with_tokens(tokenizer, BERT, before=around[:1], behind=around[1:])
        case "spans":
            names = [sentinel(number) for number in reversed(range(SENTINELS))]  # ids descend, as T5's
            return with_tokens(tokenizer, T5, names, behind=("eos_token",) if is_bare else ())
        case _:
            return tokenizer
