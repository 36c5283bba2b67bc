from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.quantization.int8 import pack, quantize_weight


@given(st.integers(0, 1000))
def test_a_weight_is_within_half_a_step(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 1, (8, 12)).astype(np.float32)
    weight[3] = 0
    quantized, step = quantize_weight(weight)
    assert np.abs(quantized * step[:, None] - weight).max() <= 0.5001 * step.max()
    assert np.abs(quantized).max() == 127
    assert not quantized[3].any()


def test_packing_puts_four_bytes_of_sixteen_outputs_together() -> None:
    weight = np.arange(32 * 8, dtype=np.int64).reshape(32, 8).astype(np.int8)
    packed = pack(weight).reshape(2, 2, 16, 4)
    for n, k in ((0, 0), (17, 5), (31, 7)):
        assert packed[n // 16, k // 4, n % 16, k % 4] == weight[n, k]
