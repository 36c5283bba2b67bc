# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""Random numbers of many streams at once: Philox4x64-10, to the bit those of `numpy.random.Philox`.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_u = np.uint64
_LOW = _u(0xFFFFFFFF)
_HALF = _u(32)
_M0, _M1 = _u(0xD2E7470EE14C6C93), _u(0xCA5A826395121157)
_W0, _W1 = _u(0x9E3779B97F4A7C15), _u(0xBB67AE8584CAA73B)
_SHIFT = _u(11)


@njit(nogil=True, error_model="numpy")
def _high(a, b):
    """The upper 64 bits of a b."""
    a0, a1 = a & _LOW, a >> _HALF
    b0, b1 = b & _LOW, b >> _HALF
    middle = a1 * b0 + ((a0 * b0) >> _HALF)
    return a1 * b1 + (middle >> _HALF) + (((middle & _LOW) + a0 * b1) >> _HALF)


@njit(cache=True, nogil=True, error_model="numpy")
def first_uniforms(low, high, places, found):
    """low, high: (R,) uint64, the halves of each stream's key; places: (R,) uint64, its counter -> found (R,): the number in
    [0, 1) that `Generator(Philox(key=, counter=)).random()` gives first.
    """
    for i in range(len(places)):
        k0, k1 = low[i], high[i]
        c0, c1, c2, c3 = places[i] + _u(1), _u(0), _u(0), _u(0)  # numpy counts before it draws
        for turn in range(10):
            if turn:
                k0 += _W0
                k1 += _W1
            h0, l0 = _high(_M0, c0), _M0 * c0
            h1, l1 = _high(_M1, c2), _M1 * c2
            c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        found[i] = np.float64(c0 >> _SHIFT) * (1.0 / 9007199254740992.0)
