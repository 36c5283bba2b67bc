"""The next-sentence model as a scorer of the splitter: its language, its threshold, and the settings that ask for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import HashEmbedder
from library.split.documents import plain
from openbook.core.errors import ModelUnavailable
from openbook.library.ingest.pipeline import similarity_of
from openbook.library.split.next_sentence import NextSentenceScorer, shipped_next_sentence
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens

EN = ("The ferry leaves the harbour at noon.", "It comes back to the pier in the evening.")
ZH = ("渡轮中午离开码头。", "傍晚它又回到这里。")


class Fixed:
    """Gives every pair the same score, and keeps what it was asked."""

    def __init__(self, score: float) -> None:
        self.value, self.asked = score, list[tuple[str, str]]()

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        self.asked += pairs
        return np.full(len(pairs), self.value, np.float32)


def test_each_language_has_its_scorer() -> None:
    model, other = Fixed(0.9), Fixed(0.2)
    found = NextSentenceScorer(other, lambda: model, threshold=0.5).score([EN, ZH, EN])
    np.testing.assert_allclose(found, [0.9, 0.2, 0.9], atol=1e-6)
    assert model.asked == [EN, EN] and other.asked == [ZH]


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.93])
def test_the_threshold_becomes_a_half(threshold: float) -> None:
    def at(share: float) -> float:
        return float(NextSentenceScorer(Fixed(0.0), lambda: Fixed(share), threshold).score([EN])[0])

    assert at(threshold) == pytest.approx(0.5, abs=1e-6)
    assert at(threshold / 2) < 0.5 < at((1 + threshold) / 2)
    assert at(0.0) == 0.0 and at(1.0) == pytest.approx(1.0)


def test_the_model_is_opened_for_what_it_reads() -> None:
    def broken() -> Fixed:
        raise AssertionError("opened")

    scorer = NextSentenceScorer(Fixed(0.3), broken)
    assert scorer.score([ZH]).tolist() == [pytest.approx(0.3)] and len(scorer.score([])) == 0
    with pytest.raises(AssertionError, match="opened"):
        scorer.score([EN])


@pytest.mark.parametrize(("share", "count"), [(0.9, 1), (0.01, 2)])
def test_settings_choose_the_scorer_and_it_decides(share: float, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.library.split.next_sentence.shipped_next_sentence", lambda: Fixed(share))
    chosen = SplitSettings(splitter="semantic", scorer="next-sentence")
    scorer = similarity_of(chosen, HashEmbedder())
    assert len(split(plain("\n\n".join(EN)), chosen, ApproximateTokens(), scorer)) == count


def test_without_the_encoder_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.library.split.next_sentence.default_directory", lambda: None)
    shipped_next_sentence.cache_clear()
    with pytest.raises(ModelUnavailable, match="not installed"):
        shipped_next_sentence()
