"""Weights of the vectors by language of the query."""

from __future__ import annotations

from openbook.library.retrieve.weights import DEFAULT_WEIGHT, dense_weight


def test_an_embedder_without_chinese_has_no_say_in_chinese() -> None:
    assert dense_weight("any", frozenset({"en"}), "zh") == 0.0
    assert dense_weight("any", frozenset({"en", "zh"}), "zh") == DEFAULT_WEIGHT


def test_the_default_embedder_is_fitted_for_english() -> None:
    default = "7b3af78b105afdc92132672612eb24ad1993ae8970e30dc5117d6c537284e932"
    assert 0.3 <= dense_weight(default, frozenset({"en"}), "en") <= 0.6
