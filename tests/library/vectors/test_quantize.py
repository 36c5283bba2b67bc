"""The 8-bit form: its error is never larger than it says, and the kernel is its reference."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from openbook.library.vectors.kernel import byte_dot
from openbook.library.vectors.quantize import byte_dot_reference, quantize

_FLOATS = st.floats(-2, 2, width=32)


@given(arrays(np.float32, (7, 16), elements=_FLOATS), arrays(np.float32, 16, elements=_FLOATS))
def test_the_true_product_is_within_the_bound(vectors: np.ndarray, query: np.ndarray) -> None:
    approximate = np.empty(7, np.float32)
    bounds = quantize(vectors).scores(query, byte_dot_reference, approximate)
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    assert np.all(np.abs(exact - approximate) <= bounds + 1e-6)


def test_bounds_are_tight_enough_to_be_of_use() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((500, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bounds = quantize(vectors).scores(vectors[0], byte_dot_reference, np.empty(500, np.float32))
    assert bounds.max() < 0.02


@given(arrays(np.int8, (5, 384)), arrays(np.int16, 384, elements=st.integers(-20_000, 20_000)))
def test_the_kernel_equals_its_reference(codes: np.ndarray, query: np.ndarray) -> None:
    products, expected = np.empty(5, np.int32), np.empty(5, np.int32)
    byte_dot(codes, query, products)
    byte_dot_reference(codes, query, expected)
    assert np.array_equal(products, expected)
