"""Vectors as 8-bit integers with a known error, and their product with a query.

x = scale * codes + e with |e| = `errors`, so |q.x - scale (q.codes)| <= |q| |e|: a bound, not an estimate. The query is
rounded to 16 bits; what that adds is counted in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]
ByteDot = Callable[[Codes, NDArray[np.int16], NDArray[np.int32]], None]
"""(N, E) int8 codes, (E,) int16 query, (N,) int32 products out."""

_CODE_MAX = 127
_QUERY_MAX = 32_767
_SUM_MAX = 2**31 - 1
_FLOAT_SLACK = 1e-6
"""Covers float32 rounding in scores of unit vectors"""


class Quantized(NamedTuple):
    codes: Codes
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]

    def scores(self, query: NDArray[np.float32], dot: ByteDot, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Writes the approximate products with `query` (E,) into `out` (N,); returns by how much each can be off."""
        top = min(_QUERY_MAX, _SUM_MAX // (_CODE_MAX * max(1, len(query))))  # the int32 sum cannot overflow
        step = float(np.abs(query).max(initial=0.0)) / top or 1.0
        rounded = np.rint(query / step).astype(np.int16)
        products = np.empty(len(self.codes), np.int32)
        dot(self.codes, rounded, products)
        np.multiply(products, self.scales * np.float32(step), out=out)
        norm = float(np.linalg.norm(query))
        # |scale codes| <= scale 127 sqrt(E) multiplies the query's own rounding.
        rounding = float(np.linalg.norm(query - rounded * step)) * _CODE_MAX * float(np.sqrt(len(query)))
        bounds: NDArray[np.float32] = self.errors * np.float32(norm) + self.scales * np.float32(rounding)
        bounds += np.float32(_FLOAT_SLACK * norm)
        return bounds


def quantize(vectors: NDArray[np.float32]) -> Quantized:
    """Each row of (N, E) scaled by its own largest magnitude."""
    scales = np.maximum(np.abs(vectors).max(axis=1, initial=0.0) / _CODE_MAX, np.finfo(np.float32).tiny)
    codes = np.rint(vectors / scales[:, None]).astype(np.int8)
    errors = np.linalg.norm(vectors.astype(np.float64) - codes * scales[:, None].astype(np.float64), axis=1)
    return Quantized(codes, scales.astype(np.float32), np.nextafter(errors.astype(np.float32), np.float32(np.inf)))


def byte_dot_reference(codes: Codes, query: NDArray[np.int16], products: NDArray[np.int32]) -> None:
    """The plain form of the kernel."""
    products[:] = codes.astype(np.int64) @ query.astype(np.int64)


def load_byte_dot() -> ByteDot | None:
    """The compiled kernel, or None where numba is not installed. Takes about a second the first time."""
    try:
        from openbook.library.vectors.kernel import byte_dot
    except ImportError:
        return None
    codes = np.frombuffer(bytes(8), np.int8).reshape(1, 8)  # read-only, as mapped arrays are: a type of its own
    byte_dot(codes, np.zeros(8, np.int16), np.zeros(1, np.int32))
    kernel: ByteDot = byte_dot
    return kernel
