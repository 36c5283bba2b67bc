"""The default scorer of the semantic splitter: how alike two neighbouring passages are to the embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from openbook.core.messages import Embedder


class EmbedderSimilarity:
    """A `Scorer`: the cosine of the two passages' vectors, below 0 counted as 0."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(N,) float32 in [0, 1]. Each distinct text is embedded once."""
        if not pairs:
            return np.empty(0, np.float32)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        place = {text: number for number, text in enumerate(texts)}
        vectors = self._embedder.embed(texts, "passage")
        left = vectors[[place[first] for first, _ in pairs]]
        right = vectors[[place[second] for _, second in pairs]]
        cosines: NDArray[np.float32] = np.clip((left * right).sum(axis=1), 0.0, 1.0).astype(np.float32)
        return cosines
