"""A scorer of the semantic splitter that has learned what goes on: the package's next-sentence model, in its language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.core.messages import Scorer
from openbook.library.embed.default import check_default, default_directory
from openbook.library.lexical.language import detect_language
from openbook.lm.weights import Shipped, shipped

NAME: Shipped = "nsp-en"
LANGUAGES = frozenset({"en"})
THRESHOLD = 0.54
"""Probability from which neighbours are merged: fitted by `benchmarks/next_sentence.py` on the even lines of the English pairs
(tests/library/split/data)."""


class NextSentenceScorer:
    """A `Scorer`: the probability that the second passage goes on where the first ends, moved so that `THRESHOLD` is 0.5, as the
    splitter expects it. Pairs in a language that the model does not know are `other`'s.
    """

    def __init__(
        self, other: Scorer, open_model: Callable[[], Scorer] | None = None, threshold: float = THRESHOLD
    ) -> None:
        self._other, self._open, self._threshold = other, open_model or shipped_next_sentence, threshold

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """(N,) float32 in [0, 1]. The model is opened for the first pair that it reads."""
        scores = np.empty(len(pairs), np.float32)
        known = np.array([detect_language(f"{first}\n{second}") in LANGUAGES for first, second in pairs], bool)
        for scorer_of, places in ((self._moved, np.flatnonzero(known)), (self._other.score, np.flatnonzero(~known))):
            if len(places):
                scores[places] = scorer_of([pairs[place] for place in places.tolist()])
        return scores

    def _moved(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """p -> p (1 - t) / (p (1 - t) + (1 - p) t): its log-odds less those of the threshold t."""
        shares, threshold = self._open().score(pairs), self._threshold
        yes, no = shares * (1 - threshold), (1 - shares) * threshold
        moved: NDArray[np.float32] = (yes / (yes + no)).astype(np.float32)
        return moved


@cache
def shipped_next_sentence() -> Scorer:
    """That of the package over the default encoder, in bytes and without torch where the processor can.

    ModelUnavailable where the encoder is not installed, and where the files of the package are broken.
    """
    base = default_directory()
    if base is None:
        raise ModelUnavailable("the encoder of the next-sentence model is not installed", "`openbook setup embedder`")
    check_default(base)
    from openbook.library.embed.pairs import NextSentence

    return NextSentence(base, "auto", shipped(NAME))
