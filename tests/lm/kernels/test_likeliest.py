"""The likeliest token, by the kernel and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.likeliest import likeliest, likeliest_by_peaks


@given(rows=st.integers(1, 5), count=st.integers(1, 3_000), seed=st.integers(0, 99), digits=st.integers(0, 3))
def test_it_is_that_of_torch(rows: int, count: int, seed: int, digits: int) -> None:
    """Few digits: many are equally likely, and the first of them is taken."""
    logits = torch.randn(rows, count + 7, generator=torch.Generator().manual_seed(seed)).round(decimals=digits)
    found = np.empty(rows, np.int64)
    likeliest(logits.numpy(), count, found)
    assert found.tolist() == logits[:, :count].argmax(dim=1).tolist()


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_is_told(odd: float) -> None:
    logits = torch.zeros(2, 2_000)
    logits[1, 1_500] = odd
    logits[0, 3] = -float("inf")
    found = np.empty(2, np.int64)
    likeliest(logits.numpy(), 2_000, found)
    assert found.tolist() == [0, -1]
    logits[0] = -float("inf")
    likeliest(logits.numpy(), 2_000, found)
    assert found.tolist() == [-1, -1]


@given(rows=st.integers(1, 3), count=st.integers(1, 400), seed=st.integers(0, 99), digits=st.integers(0, 2))
def test_the_highest_of_each_64_tell_the_same(rows: int, count: int, seed: int, digits: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, count + 7, generator=generator).round(decimals=digits).numpy()
    if seed % 4 == 0:
        logits[0, seed % count] = [np.nan, np.inf, -np.inf][seed % 3]
    starts = range(0, count, 64)
    peaks = np.stack([logits[:, start : min(start + 64, count)].max(axis=1) for start in starts], axis=1)
    found, expected = np.empty(rows, np.int64), np.empty(rows, np.int64)
    likeliest(logits, count, expected)
    likeliest_by_peaks(logits, count, peaks, found)
    assert found.tolist() == expected.tolist()
