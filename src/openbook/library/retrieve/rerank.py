"""A reranker's scores beside those of the search: what found a passage still counts, by one weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openbook.library.retrieve.fuse import z_scores

Scores = NDArray[np.float32] | NDArray[np.float64]


def interpolated(found: Scores, reranked: Scores, weight: float) -> NDArray[np.float64]:
    """found, reranked: (n,) scores of a query's candidates, in any units -> (n,): (1 - weight) of the one, weight of the other,
    each in standard deviations over these candidates. With weight 0 the order is the search's, with 1 the reranker's.

    ValueError for a weight outside 0..1.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight {weight} is no share: give 0 to 1")
    total: NDArray[np.float64] = (1.0 - weight) * z_scores(np.asarray(found, np.float32)) + weight * z_scores(
        np.asarray(reranked, np.float32)
    )
    return total
