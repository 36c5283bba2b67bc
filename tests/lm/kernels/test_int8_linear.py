from __future__ import annotations

import numpy as np
import pytest

from openbook.lm.kernels.cpu import why_not_int8

if why_not_int8():
    pytest.skip(f"int8 {why_not_int8()}", allow_module_level=True)

from numba import njit

from openbook.lm.kernels.int8_linear import int8_linear
from openbook.lm.quantization.int8 import int8_weights, quantize_weight


@njit  # type: ignore[untyped-decorator]
def call(x, steps, lows, weight, scale, offset, bias, out, rows, n, k):  # type: ignore[no-untyped-def]
    int8_linear(x, steps, lows, weight, scale, offset, bias, out, rows, n, k)


@pytest.mark.parametrize(("rows", "n", "k"), [(6, 64, 64), (12, 128, 4), (18, 64, 192)])
def test_equals_the_product_of_the_dequantised_operands(rows: int, n: int, k: int) -> None:
    rng = np.random.default_rng(rows)
    weight, bias = rng.normal(0, 1, (n, k)).astype(np.float32), rng.normal(0, 1, n).astype(np.float32)
    x = rng.integers(0, 256, (rows, k)).astype(np.uint8)
    x[0], x[1] = 255, 0  # the largest sums must not saturate
    steps, lows = rng.uniform(0.01, 0.1, rows).astype(np.float32), rng.normal(0, 1, rows).astype(np.float32)
    out = np.empty((rows, n), np.float32)
    call(x, steps, lows, *int8_weights(weight, bias), out, rows, n, k)
    quantized, step = quantize_weight(weight)
    inputs = lows[:, None].astype(float) + steps[:, None].astype(float) * x
    want = inputs @ (quantized.astype(float) * step[:, None]).T + bias
    assert np.allclose(out, want, rtol=1e-4, atol=1e-3 * np.abs(want).max())
