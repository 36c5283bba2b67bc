"""Spans: what is read and what is written make the text again; counts are the paper's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.recipe_parts import SpansPart
from openbook.training.sources.pieces import Piece, drawn
from openbook.training.sources.spans import Spoiling, spoiled
from openbook.training.special_tokens import with_special_tokens

TOKENIZER = with_special_tokens(default_tokenizer(), "spans")


def spoiling(tokenizer: Tokenizer = TOKENIZER, **changes: float) -> Spoiling:
    return Spoiling(tokenizer, SpansPart(**changes))


def piece(length: int, number: int = 0) -> Piece:
    ids = np.arange(300, 300 + length)
    return Piece(ids, np.ones(length, np.bool_), drawn(7, 0, number))


def restored(read: list[int], written: list[int], sentinels: list[int]) -> list[int]:
    """The text, from what a perfect decoder writes."""
    spans: dict[int, list[int]] = {}
    for one in written[:-1]:  # without the end of text
        if one in sentinels:
            spans[one] = []
        else:
            spans[next(reversed(spans))].append(one)
    return [inner for one in read[:-1] for inner in spans.get(one, [one])]


@given(
    st.integers(2, 500),
    st.integers(0, 1_000),
    st.sampled_from([0.05, 0.15, 0.5, 0.9]),
    st.sampled_from([1.0, 3.0, 8.0]),
)
def test_what_is_written_fills_what_is_read(length: int, number: int, share: float, mean: float) -> None:
    one = spoiling(share=share, mean_length=mean)
    noise, spans = one.counts(length)
    if spans >= 100:
        return
    read, written = (part.tolist() for part in one.spoil(piece(length, number)))
    assert restored(read, written, one.sentinels) == list(range(300, 300 + length))
    assert [token for token in read if token in one.sentinels] == one.sentinels[:spans]
    assert [token for token in written if token in one.sentinels] == one.sentinels[: spans + 1]
    assert len(read) == one.taken(length) == length - noise + spans + 1
    assert len(written) == noise + spans + 2
    assert read[-1] == written[-1] == TOKENIZER.eos_id


def test_counts_are_the_papers() -> None:
    """512 tokens read by the encoder stand for 568 of text, and 114 are written (appendix of the code)."""
    one = spoiling()
    assert one.largest(512) == 568
    read, written = one.spoil(piece(568))
    assert (len(read), len(written) - 1) == (512, 114)  # their targets have no last sentinel


def test_shares_over_many_texts() -> None:
    counts = [spoiling().counts(length) for length in range(60, 400)]
    hidden, spans = (sum(one[at] for one in counts) for at in (0, 1))
    assert hidden / sum(range(60, 400)) == pytest.approx(0.15, abs=0.005)
    assert hidden / spans == pytest.approx(3, abs=0.1)


def test_spans_differ_in_length_and_place() -> None:
    """Each of the places of a text is hidden about as often as any other, but for the first, which never is."""
    one, counts = spoiling(), np.zeros(60)
    for number in range(3_000):
        _, written = one.spoil(piece(60, number))
        counts[[token - 300 for token in written.tolist() if 300 <= token < 360]] += 1
    assert counts[0] == 0
    assert counts[10:50].min() / counts[10:50].max() > 0.7


def test_sentinels_descend() -> None:
    ids = spoiling().sentinels
    assert len(ids) == 100
    assert ids == sorted(ids, reverse=True)
    assert ids[0] == TOKENIZER.vocab_size - 1
    assert TOKENIZER.token_of(ids[0]) == "<extra_id_0>"


def test_a_text_of_one_token_is_left_out() -> None:
    found = spoiled([piece(1), piece(20)], spoiling())
    assert len(found.lengths) == len(found.target_lengths) == 1
    assert found.weight == sum(found.target_lengths)
    assert spoiled([piece(1)], spoiling()).weight == 0


def test_more_spans_than_sentinels_and_none_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match="100 sentinels"):
        spoiling(share=0.5, mean_length=1).spoil(piece(400))
    with pytest.raises(UsageError, match="has no sentinels"):
        spoiling(default_tokenizer())
