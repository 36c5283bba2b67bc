"""Sums are computed exactly, and nothing else is."""

from __future__ import annotations

import pytest

from openbook.training.rollouts.calculator import Calculator, computed


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("2+3*4", "14"),
        ("(2 + 3) * -4", "-20"),
        ("0.1+0.2", "0.3"),
        ("1/3", "0.3333333333"),
        ("7/7", "1"),
        ("1/0", "error: division by zero"),
        ("2**9999999", "error: not a sum"),
        ("__import__('os')", "error: not a sum"),
        ("True+1", "error: not a sum"),
        ("a", "error: not a sum"),
        ("", "error: not a sum"),
        ("1e300*1e50/3", "error: not a sum"),
        ("9" * 190 + "*" + "9", str(int("9" * 190) * 9)),
    ],
)
def test_values(said: str, value: str) -> None:
    assert computed(said) == value


def test_a_number_that_grows_too_large_is_refused() -> None:
    assert computed("*".join(["9" * 60] * 40)) == "error: not a sum"


def test_a_completion_that_ends_in_a_call_is_answered() -> None:
    episode = Calculator({})
    assert episode.step("so <calc>1+1</calc>") == ({"role": "tool", "content": "2"},)
    assert not episode.step("<calc>1+1</calc> is two")
    assert not episode.step("two")
