"""Reward functions of the user's, in their own process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import UsageError
from openbook.training.rewards.function import FunctionReward, RegexReward
from openbook.training.rewards.sampled import Fault, Score
from reward_samples import sampled

CODE = """
import os, asyncio
from beside import SHIFT

def by_length(completions, **kwargs):
    return [float(len(one)) for one in completions]

def by_key(prompts, completions, gold, level=None):
    assert all(one[-1]["role"] == "user" for one in prompts)
    return [int(one == right) for one, right in zip(completions, gold)]

def all_keys(completions, **kwargs):
    assert set(kwargs) == {"prompts", "gold", "level", "completion_tokens", "is_finished"}, sorted(kwargs)
    return [None if one is None else one / 10 for one in kwargs["level"]]

def as_messages(completions, **kwargs):
    return [len(one[0]["content"]) for one in completions]

async def later(completions):
    await asyncio.sleep(0)
    return [True] * len(completions)

def arrays(completions):
    import numpy as np
    return np.arange(len(completions), dtype=np.float32)

def picky(completions):
    if "raise" in completions:
        raise KeyError("colour")
    if "hang" in completions:
        while True:
            pass
    if "die" in completions:
        os._exit(7)
    if "text" in completions:
        return ["many"] * len(completions)
    if "short" in completions:
        return [1.0]
    print("what a function prints is nobody's reward")
    return [float("nan") if one == "nan" else 1.0 for one in completions]

def process(completions):
    return [os.getpid()] * len(completions)

def shifted(completions):
    return [SHIFT for _ in completions]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("SHIFT = 0.25\n", "utf-8")
    path = tmp_path / "rewards.py"
    path.write_text(CODE, "utf-8")
    return path


@contextmanager
def opened(file: Path, name: str, **options: Any) -> Iterator[FunctionReward]:
    reward = FunctionReward(f"{file}:{name}", name, **options)
    try:
        yield reward
    finally:
        reward.close()


def kinds(scores: Any) -> list[object]:
    return [one.kind if isinstance(one, Fault) else one for one in scores]


def scored(file: Path, name: str, *completions: str, **options: Any) -> list[Score]:
    with opened(file, name, **options) as reward:
        return list(reward([sampled(one) for one in completions]))


def test_functions_are_called_as_trl_calls_them(file: Path) -> None:
    rows = [sampled("a", gold="a", level=3), sampled("b", gold="c", level=None)]
    expected = {"by_length": [1, 1], "by_key": [1, 0], "all_keys": [0.3, None], "later": [1, 1], "arrays": [0, 1]}
    for name, values in expected.items():
        with opened(file, name) as reward:
            assert list(reward(rows)) == values, name
    assert scored(file, "as_messages", "abc", completions="messages") == [3.0]
    assert scored(file, "shifted", "x") == [0.25]


def test_a_row_without_a_key_has_none(file: Path) -> None:
    with opened(file, "all_keys") as reward:
        assert list(reward([sampled("a", gold=1, level=5), sampled("b")])) == [0.5, None]


def test_no_completion_is_no_call(file: Path) -> None:
    assert scored(file, "picky") == []


def test_one_bad_completion_does_not_take_the_reward_of_others(file: Path) -> None:
    with opened(file, "picky") as reward:
        (one, bad, other) = reward([sampled(text) for text in ("fine", "raise", "fine")])
        assert (one, other) == (1.0, 1.0)
        assert isinstance(bad, Fault) and bad.kind == "error" and "KeyError: 'colour'" in bad.message
        assert kinds(reward([sampled("fine"), sampled("die")])) == [1.0, "crash"]
        assert list(reward([sampled("fine")])) == [1.0], "the process was replaced"


def test_a_function_that_hangs_is_ended(file: Path) -> None:
    (hung,) = scored(file, "picky", "hang", timeout_s=0.2)
    assert hung == Fault("timeout", "it took longer than 0.2 s")
    assert kinds(scored(file, "picky", "fine", "hang", timeout_s=2.0)) == [1.0, "timeout"]


def test_the_wrong_length_and_no_numbers(file: Path) -> None:
    (one, other) = scored(file, "picky", "short", "fine")
    assert isinstance(one, Fault) and one == other
    assert one == Fault("length", "it gave 1 rewards for 2 completions")
    assert kinds(scored(file, "picky", "text", "fine", alone=False)) == ["error", "error"]


def test_nan_is_given_on(file: Path) -> None:
    (score,) = scored(file, "picky", "nan")
    assert isinstance(score, float) and math.isnan(score)


def test_it_is_another_process_and_stays(file: Path) -> None:
    import os

    with opened(file, "process") as reward:
        (first,), (second,) = reward([sampled("a")]), reward([sampled("b")])
    assert first == second != float(os.getpid())


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("def f(: pass", "f", "SyntaxError"),
        ("import nothing_like_it", "f", "nothing_like_it"),
        ("def g(completions): return []", "f", "no function 'f'; it has g"),
        ("f = 3", "f", "no function"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_at_once(tmp_path: Path, code: str, name: str, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(code, "utf-8")
    with pytest.raises(UsageError, match=said):
        FunctionReward(f"{path}:{name}", "f")


@pytest.mark.parametrize("spec", ["rewards.py", ":f", "rewards.py:1", "no/such.py:f"])
def test_a_name_that_leads_nowhere(spec: str) -> None:
    with pytest.raises(UsageError, match=r"FILE\.py:NAME"):
        FunctionReward(spec, "f")


def test_a_row_that_cannot_be_sent_is_a_fault(file: Path) -> None:
    with opened(file, "all_keys") as reward:
        (score,) = reward([sampled("a", gold=1, level=1 << 70)])
    assert isinstance(score, Fault) and score.kind == "row"


def test_patterns() -> None:
    reward = RegexReward(r"\bfour\b.*five", "regex")
    try:
        assert list(reward([sampled("four\nfive"), sampled("fourfive")])) == [1.0, 0.0]
    finally:
        reward.close()
    with pytest.raises(UsageError, match="regular expression"):
        RegexReward("(", "regex")


def test_a_pattern_that_never_ends_is_ended() -> None:
    reward = RegexReward(r"(a+)+$", "regex", timeout_s=2.0)
    try:
        assert kinds(reward([sampled("aa"), sampled("a" * 60 + "b")])) == [1.0, "timeout"]
    finally:
        reward.close()
