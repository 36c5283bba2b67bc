"""The likeliest token, by the kernel and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.likeliest import likeliest


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
