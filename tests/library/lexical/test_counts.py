"""Term counts and their blob."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import CorruptLibrary
from openbook.library.lexical.counts import TermCounts, count_terms, hash_term
from openbook.library.lexical.tokenize import terms


@given(st.text())
def test_counts_are_those_of_the_terms(text: str) -> None:
    counted = count_terms(text)
    expected = Counter(hash_term(term) for term in terms(text))
    assert dict(zip(counted.hashes.tolist(), counted.counts.tolist(), strict=True)) == expected
    assert counted.length == expected.total()
    assert np.all(counted.hashes[1:] > counted.hashes[:-1])


@given(st.text())
def test_blob_round_trip(text: str) -> None:
    counted = count_terms(text)
    back = TermCounts.from_blob(counted.to_blob())
    assert back.length == counted.length
    assert np.array_equal(back.hashes, counted.hashes)
    assert np.array_equal(back.counts, counted.counts)


def test_the_hash_of_a_term_never_changes() -> None:
    assert hash_term("openbook") == 3506791260693977636


@pytest.mark.parametrize("blob", [b"", b"1234567", count_terms("some words here").to_blob()[:-1]])
def test_a_cut_blob_is_named_corrupt(blob: bytes) -> None:
    with pytest.raises(CorruptLibrary, match="term counts"):
        TermCounts.from_blob(blob)


def test_a_count_above_65535_saturates() -> None:
    counted = count_terms("word " * 70_000)
    assert counted.counts.tolist() == [65_535]
    assert counted.length == 70_000
