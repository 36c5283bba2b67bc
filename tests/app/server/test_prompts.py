"""A text that is much too long is refused by its beginning; one that may fit is looked at whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.app.server.errors import Refused
from openbook.app.server.prompts import room_check
from openbook.app.server.service import Service
from openbook.lm.tokenizers.default import default_tokenizer

LIMIT = 64
TOKENIZER = default_tokenizer()


class Counting:
    """The tokenizer, and how many characters it was given."""

    def __init__(self) -> None:
        self.characters = 0

    def encode(self, text: str, **how: Any) -> list[int]:
        self.characters += len(text)
        return TOKENIZER.encode(text, **how)


def service(tokenizer: Any) -> Service:
    engine = SimpleNamespace(facts=SimpleNamespace(max_seq_len=LIMIT))
    return cast(Service, SimpleNamespace(engine=engine, tokenizer=tokenizer))


def test_much_too_long_is_told_by_the_beginning() -> None:
    tokenizer = Counting()
    with pytest.raises(
        Refused, match=r"has 5,000,000 characters, the first 512 of them are \d+ tokens .* limit is 64 "
    ):
        room_check(service(tokenizer))("word " * 1_000_000)
    assert tokenizer.characters == 512


def test_a_beginning_that_says_little_is_not_held_against_the_rest() -> None:
    tokenizer = Counting()
    with pytest.raises(Refused, match="the first 2,048 of them"):
        room_check(service(tokenizer))(" " * 512 + "word " * 1_000)
    room_check(service(tokenizer))("word " * 102)  # short enough to be counted


PIECES = st.sampled_from(["word ", " " * 40, "\n", "河流", "<|im_end|>", "a" * 30, "1234567", "é", "🙂"])


@given(st.lists(st.tuples(PIECES, st.integers(1, 200)), max_size=12))
def test_what_fits_is_never_refused(pieces: list[tuple[str, int]]) -> None:
    text = "".join(piece * count for piece, count in pieces)
    if len(TOKENIZER.encode(text, add_special_tokens=False)) <= LIMIT:
        room_check(service(TOKENIZER))(text)
