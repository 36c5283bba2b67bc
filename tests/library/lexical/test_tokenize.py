"""Terms: what a passage must be found by, in both languages and for names, codes and numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical import tokenize
from openbook.library.lexical.tokenize import query_terms, sequence, terms


@pytest.mark.parametrize(
    ("indexed", "asked"),
    [
        ("ticket INC-2024-001 was closed", "inc-2024-001"),
        ("ticket INC-2024-001 was closed", "INC"),
        ("released as v2.1", "V2.1"),
        ("on 2024-05-01 at noon", "2024-05-01"),
        ("write to anna@example.com", "anna@example.com"),
        ("calls getUserName() twice", "getusername"),
        ("calls getUserName() twice", "user"),
        ("the max_seq_len setting", "max_seq_len"),
        ("the max_seq_len setting", "seq"),
        ("1,200 employees", "1200"),
        ("weighs 50kg", "50 kg"),
        ("pi is 3.14", "3.14"),
        ("Beyoncé sang", "beyonce"),
        ("running costs", "run cost"),
        ("员工每年有十五天年假", "年假"),
        ("員工每年有十五天年假", "员工"),
        ("价格为１００元", "100"),
        ("東京タワー", "タワー"),
        ("C++ and C#", "c++"),
    ],
)
def test_every_term_of_the_question_is_in_the_passage(indexed: str, asked: str) -> None:
    assert set(terms(asked)) <= set(terms(indexed))


def test_numbers_that_differ_share_no_term() -> None:
    assert not set(terms("3.14")) & set(terms("3.15"))
    assert not set(terms("1,200")) & set(terms("1,300"))


def test_a_query_loses_its_stopwords_unless_nothing_is_left() -> None:
    assert query_terms("What is the notice period?") == ["notic", "period"]
    assert query_terms("to be or not to be") == ["to", "be", "or", "not", "to", "be"]


def test_traditional_and_simplified_questions_have_the_same_terms() -> None:
    assert terms("臺灣的語言學習") == terms("台湾的语言学习")


def test_sequence_holds_letters_and_digits_only_and_one_element_a_han_character() -> None:
    assert sequence("Don't panic: 年假 v2.1_beta") == ["don", "t", "panic", "年", "假", "v2", "1", "beta"]


@given(st.text())
def test_any_text_has_terms_and_a_sequence(text: str) -> None:
    assert all(terms(text))
    assert all(element.isalnum() for element in sequence(text))


@given(st.text(), st.text())
def test_a_word_boundary_separates(left: str, right: str) -> None:
    assert sequence(f"{left}\n{right}") == sequence(left) + sequence(right)


def test_only_a_bounded_number_of_words_is_remembered_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file full of numbers would fill every worker's memory with them."""
    texts = [f"walking {number} v{number}.1 {chr(97 + number % 26) * 3}s" for number in range(200)]
    before = [terms(text) for text in texts]
    monkeypatch.setattr(tokenize, "_CACHE_ENTRIES", 10)
    monkeypatch.setattr(tokenize, "_cache", {})
    assert [terms(text) for text in texts] == before
    assert 0 < len(tokenize._cache) <= 10
    assert all(word.isalpha() for word in tokenize._cache)
