"""Special tokens that stand in what people say, spelled out as text: nobody ends a turn, or speaks as another, by typing so.

Each such token gets a mark behind its first character before the template is rendered. The text is then cut at the marks, which
are taken out, and its parts encoded on their own: no special token reaches over a cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError

if TYPE_CHECKING:
    from openbook.lm.tokenizers.tokenizer import Tokenizer


class Spelled(NamedTuple):
    """`places`: those that were given, in the text without marks."""

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    places: list[tuple[int, int]]


def marked(value: Any, tokens: Sequence[str], mark: str) -> Any:
    """Plain data with a mark in each of `tokens` that a text of it holds, keys of mappings too: templates write them out."""
    if isinstance(value, str):
        found = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
        return found.sub(lambda one: one[0][0] + mark + one[0][1:], value)
    if isinstance(value, dict):
        return {marked(key, tokens, mark): marked(one, tokens, mark) for key, one in value.items()}
    return [marked(one, tokens, mark) for one in value] if isinstance(value, list) else value


def encode_spelled(tokenizer: Tokenizer, text: str, places: Iterable[tuple[int, int]], mark: str) -> Spelled:
    """Raises UsageError for a tokenizer that is not byte-level, whose words would change at the cuts, and ModelUnavailable for a
    template that writes the mark as an escape.
    """
    if not tokenizer.is_byte_level:
        raise UsageError(
            f"{tokenizer.source} is not byte-level, so it cannot spell special tokens out",
            "render with literal=False, and take special tokens out of the chat beforehand",
        )
    if f"\\u{ord(mark):04x}" in text.lower():
        raise ModelUnavailable(
            f"the chat template of {tokenizer.source} escapes characters", "render with literal=False"
        )
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    at = 0
    for part in text.split(mark):
        encoding = tokenizer.locate(part)
        ids += encoding.ids
        offsets += [(start + at, end + at) for start, end in encoding.offsets]
        at += len(part)
    moved = [(start - text.count(mark, 0, start), end - text.count(mark, 0, end)) for start, end in places]
    return Spelled(text.replace(mark, ""), ids, offsets, moved)
