"""The 8-bit product, compiled by numba on first use. Its plain form is `quantize.byte_dot_reference`.

One thread: 100,000 x 384 take 1.1 ms on it, beside other work too. Two threads took 0.7 ms on an idle machine and
10 ms on a busy one, where each waited for the other's turn.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True)
def byte_dot(codes: NDArray[np.int8], query: NDArray[np.int16], products: NDArray[np.int32]) -> None:
    for row in range(codes.shape[0]):
        total = numba.int32(0)
        for i in range(codes.shape[1]):
            total += numba.int32(codes[row, i]) * numba.int32(query[i])
        products[row] = total
