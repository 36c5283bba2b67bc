"""Languages by script and function words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical.language import detect_language

SAMPLES = {
    "What is the notice period of the contract?": "en",
    "INC-2024-001": "en",
    "": "en",
    "年假有几天？": "zh",
    "BERT 是什么": "zh",
    "iPhone 15 Pro Max 的价格是多少": "zh",
    "Who is 李白?": "en",
    "東京タワーはどこにありますか": "ja",
    "서울의 인구는 얼마입니까": "ko",
    "Какова столица России?": "ru",
    "Was ist die Kündigungsfrist und wer hat sie?": "de",
    "Quelle est la durée du préavis dans le contrat ?": "fr",
    "¿Cuál es el plazo de preaviso del contrato?": "es",
}


@pytest.mark.parametrize(("text", "language"), SAMPLES.items())
def test_sample_is_recognised(text: str, language: str) -> None:
    assert detect_language(text) == language


@given(st.text())
def test_any_text_has_a_language(text: str) -> None:
    assert 2 <= len(detect_language(text)) <= 3
