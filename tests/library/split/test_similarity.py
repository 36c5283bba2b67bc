"""The semantic splitter with scorers whose answers are known, and the embedder's similarity as one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import HashEmbedder
from library.split.documents import plain
from openbook.core.messages import TextKind
from openbook.library.documents.model import Document
from openbook.library.split.settings import SplitSettings
from openbook.library.split.similarity import EmbedderSimilarity
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens

PARAGRAPHS = ("ferry battery pier", "ferry battery noon", "lettuce slug evening", "lettuce slug night")


class CountingEmbedder(HashEmbedder):
    """Notes every text that it is given."""

    def __init__(self) -> None:
        super().__init__(dimension=256)
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        self.seen += texts
        return super().embed(texts, kind)


def texts_of(document: Document, scorer: EmbedderSimilarity, **settings: object) -> list[str]:
    chosen = SplitSettings.model_validate({"splitter": "semantic", **settings})
    return [document.text[c.start : c.end] for c in split(document, chosen, ApproximateTokens(), scorer)]


def test_the_score_is_the_cosine_and_each_text_is_embedded_once() -> None:
    embedder = CountingEmbedder()
    scores = EmbedderSimilarity(embedder).score([("a b", "a b"), ("a b", "c d"), ("c d", "a b")])
    assert embedder.seen == ["a b", "c d"]
    assert scores[0] == pytest.approx(1.0, abs=1e-6)
    assert scores[1] == scores[2] < 0.5
    assert EmbedderSimilarity(embedder).score([]).shape == (0,)


def test_alike_paragraphs_stay_together_and_others_do_not() -> None:
    found = texts_of(plain("\n\n".join(PARAGRAPHS)), EmbedderSimilarity(HashEmbedder(dimension=256)))
    assert found == ["\n\n".join(PARAGRAPHS[:2]), "\n\n".join(PARAGRAPHS[2:])]


@pytest.mark.parametrize("threshold, count", [(0.0, 1), (1.0, 4)])
def test_the_threshold_decides(threshold: float, count: int) -> None:
    document = plain("\n\n".join(PARAGRAPHS))
    assert len(texts_of(document, EmbedderSimilarity(HashEmbedder()), threshold=threshold)) == count


def test_a_heading_is_never_asked_about() -> None:
    embedder = CountingEmbedder()
    texts_of(plain("# Part\n\nOne ferry.\n\nTwo ferries."), EmbedderSimilarity(embedder))
    assert embedder.seen == ["One ferry.", "Two ferries."]
