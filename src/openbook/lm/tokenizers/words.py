"""The steps that cut a text into words, as objects of the Rust library."""

from __future__ import annotations

from typing import Any

from openbook.lm.tokenizers.patterns import Pattern


def byte_level_words(pattern: Pattern, *, add_prefix_space: bool = False) -> Any:
    """Cuts by `pattern`, then spells each word in the 256 characters that stand for bytes."""
    from tokenizers import Regex, pre_tokenizers

    if pattern.regex is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern.regex), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False),
        ]
    )
