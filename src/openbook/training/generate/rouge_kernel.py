# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code="call-arg,var-annotated,misc"
"""The longest common subsequence of one text with many others, 64 words at a time. Reference: the table of `rouge.lcs_length`.

Source: Hyyrö 2004, Bit-parallel LCS-length computation revisited: a bit of a row of the table says where it does not grow.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ONE, _NONE = np.uint64(1), np.uint64(0)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(cache=True, nogil=True)
def most_alike(words, starts, places, masks, length):
    """(the largest ROUGE-L, whose) of a text of `length` words and the texts in `words` (N,), each from starts[t] to starts[t+1].

    places: (V,) of each word its row in `masks`, -1 where the text does not have it. masks: (U, W) uint64, in which places of
    the text each of its words stands. (0, -1) where nothing is common.
    """
    wide = masks.shape[1]
    row = np.empty(wide, np.uint64)
    best, whose = 0.0, -1
    for text in range(len(starts) - 1):
        begin, end = starts[text], starts[text + 1]
        if end == begin or 2.0 * min(end - begin, length) <= best * (end - begin + length):
            continue  # it cannot be more alike, whatever is common
        row[:] = _ALL
        for at in range(begin, end):
            mask = places[words[at]]
            if mask < 0:
                continue
            carry = _NONE
            for w in range(wide):
                known = row[w] & masks[mask, w]
                total = row[w] + known
                over = _ONE if total < known else _NONE
                total += carry
                if total < carry:
                    over = _ONE
                row[w] = total | (row[w] & ~masks[mask, w])
                carry = over
        common = 0
        for place in range(length):
            if not (row[place >> 6] >> np.uint64(place & 63)) & _ONE:
                common += 1
        score = 2.0 * common / (end - begin + length)
        if score > best:
            best, whose = score, text
    return best, whose
