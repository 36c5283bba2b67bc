"""Weights of the vectors by language of the query."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.library.embed.describe import describe_directory
from openbook.library.retrieve import weights
from openbook.library.retrieve.weights import DEFAULT_WEIGHT, RerankWeights, dense_weight, rerank_weights


def test_an_embedder_without_chinese_has_no_say_in_chinese() -> None:
    assert dense_weight("any", frozenset({"en"}), "zh") == 0.0
    assert dense_weight("any", frozenset({"en", "zh"}), "zh") == DEFAULT_WEIGHT


def test_the_default_embedder_is_fitted_for_english(minilm: Path) -> None:
    """Under the hash that its vectors have: libraries are known by it, and what was fitted to them."""
    default = describe_directory(minilm).hash
    assert 0.3 <= weights._fitted()[default]["en"] <= 0.6
    assert dense_weight(default, frozenset({"en"}), "en") == weights._fitted()[default]["en"]


def test_a_reranker_that_was_not_measured_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_fitted", lambda: {"known": {"en": 0.4, "one": {"weight": 0.3, "search": True}}})
    assert rerank_weights("known", "one") == RerankWeights(0.3, True, False)
    for embedder_hash, name in (("known", "other"), ("other", "one"), (None, "one")):
        assert rerank_weights(embedder_hash, name) == RerankWeights(DEFAULT_WEIGHT, False, False)
