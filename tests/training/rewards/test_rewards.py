"""Rewards together: the sum, faults, and what is done with them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from openbook.core.errors import RunStopped
from openbook.training.rewards.rewards import Rewards, Term
from openbook.training.rewards.sampled import Fault, Sampled, Score
from reward_samples import sampled


class Fixed:
    """Says what it was given, call after call."""

    def __init__(self, name: str, *calls: Sequence[Score]) -> None:
        self.name = name
        self._calls = list(calls)

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return self._calls.pop(0)


FAULT = Fault("timeout", "it took too long")
TWO, THREE, TEN = ([sampled("x")] * count for count in (2, 3, 10))


def test_a_weighted_sum_and_each_ones_own_mean() -> None:
    rewards = Rewards([Term(Fixed("a", [1.0, 0.0]), 2.0), Term(Fixed("b", [0.5, 0.25]), -1.0)])
    table = rewards.score(TWO)
    assert table.total.tolist() == [1.5, -0.25]
    assert {name: values.tolist() for name, values in table.by_name.items()} == {"a": [1.0, 0.0], "b": [0.5, 0.25]}
    assert table.means() == {"reward": 0.625, "reward/a": 0.5, "reward/b": 0.375, "reward_faults": 0.0}


def test_what_says_nothing_is_left_out_of_the_sum() -> None:
    rewards = Rewards([Term(Fixed("a", [1.0, None, None])), Term(Fixed("b", [2.0, 2.0, None]))])
    table = rewards.score(THREE)
    np.testing.assert_array_equal(table.total, [3.0, 2.0, math.nan])
    assert table.means()["reward/a"] == 1.0
    assert not table.faults


@pytest.mark.parametrize(("policy", "total"), [("zero", [1.5, 0.5]), ("skip", [1.5, math.nan])])
def test_a_fault_is_zero_or_left_out(policy, total: list[float]) -> None:  # type: ignore[no-untyped-def]
    rewards = Rewards([Term(Fixed("a", [1.0, FAULT]), on_fault=policy), Term(Fixed("b", [0.5, 0.5]))])
    table = rewards.score(TWO)
    np.testing.assert_array_equal(table.total, total)
    assert [(one.sample, one.name, one.fault.kind) for one in table.faults] == [(1, "a", "timeout")]
    assert table.means()["reward_faults"] == 1.0


def test_nan_and_the_wrong_length_are_faults() -> None:
    rewards = Rewards([Term(Fixed("a", [math.nan, math.inf, 1.0], [1.0]), on_fault="skip")])
    assert [one.fault.kind for one in rewards.score(THREE).faults] == ["nan", "nan"]
    table = rewards.score(THREE)
    assert [one.fault.kind for one in table.faults] == ["length"] * 3
    assert np.isnan(table.total).all()
    assert math.isnan(table.means()["reward"])


def test_a_run_stops_where_nothing_has_a_reward() -> None:
    rewards = Rewards([Term(Fixed("a", [FAULT, FAULT]))])
    with pytest.raises(RunStopped, match=r"reward a: none of 2 completions.*timeout: it took too long.*on_fault: skip"):
        rewards.score(TWO)


def test_a_run_stops_when_faults_are_more_than_their_share() -> None:
    some: list[Score] = [FAULT] + [1.0] * 9
    rewards = Rewards([Term(Fixed("a", *[some] * 12), max_faults=0.02)])
    for _ in range(2):
        assert np.isnan(rewards.score(TEN).total[0])
    saved = json.loads(json.dumps(rewards.state()))
    with pytest.raises(RunStopped, match="3 of the last 30 completions have no reward"):
        rewards.score(TEN)
    again = Rewards([Term(Fixed("a", some), max_faults=0.02)])
    again.resume(saved)
    with pytest.raises(RunStopped, match="3 of the last 30"):
        again.score(TEN)


def test_old_faults_are_forgotten() -> None:
    fine: list[Score] = [1.0] * 10
    rewards = Rewards([Term(Fixed("a", [FAULT, FAULT, *fine[2:]], *[fine] * 10, [FAULT, *fine[1:]]), max_faults=0.02)])
    for _ in range(12):
        rewards.score(TEN)


def test_nothing_has_no_reward() -> None:
    assert Rewards([Term(Fixed("a", []))]).score([]).total.shape == (0,)
