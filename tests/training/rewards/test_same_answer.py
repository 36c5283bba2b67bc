"""Answers that are the same however they are written, and those that are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.rewards.same_answer import same_answer

SAME = [
    ("72", "72"),
    ("72.0", "72"),
    ("$1,080", "1080"),
    ("900,\\!000,\\!000", "900000000"),
    ("10{,}000", "10000"),
    ("\\dfrac{1}{9}", "\\frac{1}{9}"),
    ("\\frac19", "1/9"),
    ("\\tfrac{3}{50}", "0.06"),
    ("12\\frac{3}{5}", "12.6"),
    ("1 1/2", "\\frac{3}{2}"),
    ("-\\frac{40}{153}", "\\frac{-40}{153}"),
    ("-(1/3)", "-1/3"),
    ("48^\\circ", "48"),
    ("198\\%", "198"),
    ("100\\text{ square units}", "100"),
    ("72 clips", "72"),
    ("9 (apples)", "9"),
    ("9", "9 (apples)"),
    ("18 dollars", "$18"),
    ("5 cm", "5"),
    ("x = 5", "5"),
    ("4a-2", "-2 + 4a"),
    ("2(x+1)", "2x+2"),
    ("4\\sqrt{2}", "\\sqrt{32}"),
    ("\\sqrt{16}", "4"),
    ("2\\pi", "2π"),
    ("2^{10}", "1024"),
    ("\\left(1, -2\\right)", "(1,-2)"),
    ("(\\frac12, 3)", "(0.5, 3)"),
    ("\\{1, 2\\}", "{1,2}"),
    ("4:30 p.m.", "\\text{4:30 p.m.}"),
    ("5:6", "5:6"),
    ("purple", "Purple"),
    ("七", "七"),
    ("\\theta = 30", "30"),
    ("\\text{Area} = 12 cm^2", "12"),
    ("\\sqrt[3]{8}", "2"),
    ("\\sqrt[3]{-8}", "-2"),
    ("\\sqrt[4]{x^4+1}", "(1+x^4)^{1/4}"),
    ("2^10", "1024"),
    ("x^{12}", "x^12"),
    ("\\sqrt2x", "x\\sqrt{2}"),
    ("5 m", "5"),
    ("3 million", "3 Million"),
    ("$18 million dollars", "18 million"),
    ("2.5 thousand", "2,500"),
    ("= 5", "5"),
    ("\\angle ABC = 30^\\circ", "30"),
    ("5 mL", "5"),
    ("Nine!", "nine"),
]
DIFFERENT = [
    ("71", "72"),
    ("72.5", "72"),
    ("7", "72"),
    ("-72", "72"),
    ("0.33", "1/3"),
    ("1080", "1,081"),
    ("1.08", "1,080"),
    ("\\frac{9}{1}", "\\frac{1}{9}"),
    ("12\\frac{3}{5}", "\\frac{36}{5}"),
    ("4a+2", "4a-2"),
    ("5x", "5"),
    ("5", "5x"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    ("1, 2, 3", "1, 2"),
    ("72 or 73", "72"),
    ("between 5 and 6", "5"),
    ("4:30", "4:35"),
    ("5:6", "6:5"),
    ("4:30", "4"),
    ("dad", "add"),
    ("Yes", "No"),
    ("", "72"),
    ("0.5", "50%"),
    ("x > 5", "x < 5"),
    ("x \\neq 5", "x = 5"),
    ("x \\ge 5", "5"),
    ("\\sin 30", "\\cos 30"),
    ("\\log_2 8", "8"),
    ("\\pm 3", "3"),
    ("±3", "3"),
    ("|x| is 3", "3"),
    ("5!", "5"),
    ("2 x", "2"),
    ("5 (x)", "5"),
    ("5 x", "5 y"),
    ("3 thousand", "3 million"),
    ("3 million", "3"),
    ("2 dozen", "2"),
    ("5 am", "5 pm"),
    ("5 a.m.", "5 p.m."),
    ("\\sqrt[3]{8}", "8\\sqrt{3}"),
    ("2^10", "20"),
    ("10^{400}", "10^{399}\\pi"),
    ("10^{400}/3", "\\pi"),
]


@pytest.mark.parametrize(("found", "wanted"), SAME)
def test_the_same_answer(found: str, wanted: str) -> None:
    assert same_answer(found, wanted)
    assert same_answer(wanted, found)


@pytest.mark.parametrize(("found", "wanted"), DIFFERENT)
def test_another_answer(found: str, wanted: str) -> None:
    assert not same_answer(found, wanted)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_whole_numbers_are_the_same_only_when_they_are_equal(one: int, other: int) -> None:
    assert same_answer(f"{one:,}", str(other)) == (one == other)


@given(st.fractions(max_denominator=1_000))
def test_a_fraction_is_the_same_in_latex(value) -> None:  # type: ignore[no-untyped-def]
    sign = "-" if value < 0 else ""
    latex = f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    assert same_answer(latex, f"{value.numerator}/{value.denominator}")
    assert not same_answer(latex, f"{value.numerator + value.denominator}/{value.denominator}")


@given(st.text(alphabet="0123456789+-*/^(){}[]\\,.:=xyz frac sqrt", max_size=60), st.text(max_size=20))
def test_no_text_is_too_odd(found: str, wanted: str) -> None:
    assert same_answer(found, found)
    same_answer(found, wanted)


@pytest.mark.parametrize(
    "bomb", ["9^9^9^9^9", "9^{99999999}", "(" * 250, "((((9^99)^99)^99)^99)", "1" * 290 + "^99", "9" * 3000]
)
def test_a_text_that_would_take_for_ever_is_no_answer(bomb: str) -> None:
    assert not same_answer(bomb, "9")
