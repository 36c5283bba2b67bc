"""Marks in an answer: read in all their forms, taken out, and given to the sentence that they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.assistant.answer.marks import take_marks


@pytest.mark.parametrize(
    ("answer", "clean", "numbers"),
    [
        ("It is red [1].", "It is red.", [(1,)]),
        ("It is red.[1] It is big.[2]", "It is red. It is big.", [(1,), (2,)]),
        ("It is red. [1] It is big. [2][3]", "It is red. It is big.", [(1,), (2, 3)]),
        ("It is red [1, 2].", "It is red.", [(1, 2)]),
        ("It is red [2-4].", "It is red.", [(2, 3, 4)]),
        ("It is red[^3].", "It is red.", [(3,)]),
        ("It is red [passage 2].", "It is red.", [(2,)]),
        ("它是红色的【1】。它很大。［２］", "它是红色的。它很大。", [(1,), (2,)]),
        ("它是红色的[1][3]。", "它是红色的。", [(1, 3)]),
        ("- red [1]\n- big [2]", "- red\n- big", [(1,), (2,)]),
        ("- red.\n[1] It is big.", "- red.\nIt is big.", [(), (1,)]),
        ("Half red [1], half blue [2].", "Half red, half blue.", [(1, 2)]),
        ("Built in [2024] by hand.", "Built in [2024] by hand.", [()]),
        ("No mark at all", "No mark at all", [()]),
        ("---", "---", []),
        ("", "", []),
    ],
)
def test_marks_in_all_their_forms(answer: str, clean: str, numbers: list[tuple[int, ...]]) -> None:
    text, marked = take_marks(answer)
    assert text == clean
    assert [one.numbers for one in marked] == numbers


@given(st.text(alphabet="ab .。[]1２【】\n,^-", max_size=60))
def test_spans_lie_in_the_text_and_do_not_overlap(answer: str) -> None:
    text, marked = take_marks(answer)
    place = 0
    for one in marked:
        assert place <= one.start < one.end <= len(text)
        assert text[one.start : one.end].strip() == text[one.start : one.end]
        place = one.end


@given(
    st.lists(
        st.tuples(st.sampled_from(["It is red", "Nobody came", "We pay"]), st.integers(1, 99)), min_size=1, max_size=5
    )
)
def test_each_sentence_keeps_its_mark(parts: list[tuple[str, int]]) -> None:
    inside, after = (" ".join(form.format(*part) for part in parts) for form in ("{0} [{1}].", "{0}. [{1}]"))
    for answer in (inside, after):
        text, marked = take_marks(answer)
        assert text == " ".join(f"{said}." for said, _ in parts)
        assert [one.numbers for one in marked] == [(number,) for _, number in parts]
