"""The 8-bit product, compiled by numba on first use. Its plain form is `quantize.byte_dot_reference`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(parallel=True, nogil=True, cache=True)
def byte_dot(codes: NDArray[np.int8], query: NDArray[np.int16], products: NDArray[np.int32]) -> None:
    for row in numba.prange(codes.shape[0]):
        total = numba.int32(0)
        for i in range(codes.shape[1]):
            total += numba.int32(codes[row, i]) * numba.int32(query[i])
        products[row] = total
