"""Folding: what is spelt differently and means the same becomes one; nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical.fold import fold, simplify


def test_full_width_case_and_diacritics_fold_away() -> None:
    assert fold("ＡＢＣ１２３") == "abc123"
    assert fold("Café MÜLLER Ångström") == "cafe muller angstrom"
    assert fold("STRASSE") == fold("Straße")


def test_marks_of_other_scripts_stay() -> None:
    assert fold("が") == "が"
    assert fold("한국어") == "한국어"
    assert fold("हिन्दी") == "हिन्दी"


def test_traditional_characters_become_simplified_one_to_one() -> None:
    assert simplify("臺灣學習資訊發展") == "台湾学习资讯发展"
    assert simplify("简体不变 abc") == "简体不变 abc"


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_simplifying_keeps_every_position(text: str) -> None:
    assert len(simplify(text)) == len(text)
