"""Rewards as a recipe names them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from openbook.training.rewards.settings import SETTINGS, RewardTerm

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "one of function, builtin"),
    ({"function": "a.py:b", "builtin": "number"}, "function and builtin"),
    ({"builtin": "numbers"}, "number"),
    ({"builtin": "number", "timeout": 3}, "timeout is no setting of number, which has key, place"),
    ({"function": "a.py:b", "pattern": "x"}, "no setting of function"),
    ({"builtin": "regex"}, "needs pattern"),
    ({"builtin": "overlong", "target": 5}, "needs buffer"),
    ({"builtin": "overlong", "target": 5, "buffer": 6}, "larger"),
    ({"judge": "DIR", "rubric": "a", "constitution": "b"}, "not both"),
    ({"builtin": "number", "weight": 0}, "weight 0"),
    ({"builtin": "number", "weight": float("nan")}, "finite"),
    ({"builtin": "number", "max_faults": 2}, "less than or equal"),
    ({"builtin": "number", "on_fault": "ignore"}, "skip"),
    ({"builtin": "number", "colour": "red"}, "Extra"),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_what_is_wrong_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RewardTerm.model_validate(values)


def test_what_a_reward_is_called() -> None:
    named = [{"function": "a/b.py:good"}, {"program": "a/verify.py"}, {"builtin": "number"}, {"model": "runs/rm"}]
    assert [RewardTerm.model_validate(one).label for one in named] == ["good", "verify", "number", "model"]
    assert RewardTerm(builtin="number", name="sum").label == "sum"


def test_every_setting_is_a_field_and_belongs_to_a_kind() -> None:
    known = {name for names in SETTINGS.values() for name in names}
    common = {"weight", "name", "on_fault", "max_faults", "function", "builtin", "program", "model", "judge"}
    assert known | common == set(RewardTerm.model_fields)


def test_settings_are_read_without_torch() -> None:
    code = "import sys, openbook.training.rewards.settings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
