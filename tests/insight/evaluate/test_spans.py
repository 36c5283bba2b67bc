"""Exact match and F1 on cases that were counted by hand."""

from __future__ import annotations

import pytest

from openbook.insight.evaluate.spans import exact_match, f1, normalised


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Cat, a dog.", "cat dog"),
        ("An apple", "apple"),
        ("theatre", "theatre"),
        ("U.S.", "us"),
        ("“北京”。", "北京"),
    ],
)
def test_case_articles_and_punctuation_do_not_count(text: str, plain: str) -> None:
    assert normalised(text) == plain


@pytest.mark.parametrize(
    ("found", "answers", "exact", "words"),
    [
        ("the Apollo program", ["Apollo program"], 1.0, 1.0),
        ("Apollo", ["Apollo program", "Gemini"], 0.0, 2 / 3),
        ("in 1969 on the moon", ["1969"], 0.0, 0.4),  # "the" is none: 4 words, 1 shared
        ("moon", ["1969"], 0.0, 0.0),
        ("", ["1969"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("1969", [], 0.0, 0.0),
        ("北京市", ["北京"], 0.0, 0.8),
        ("a a a", ["the"], 1.0, 1.0),  # nothing is left of either
    ],
)
def test_the_best_answer_counts(found: str, answers: list[str], exact: float, words: float) -> None:
    assert exact_match(found, answers) == exact
    assert f1(found, answers) == pytest.approx(words)
