"""Advantages against the sums that they stand for, and against numbers computed by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.advantages import (
    GROUP_EPS,
    explained_variance,
    gae,
    group_advantages,
    has_signal,
    returns_to_go,
    token_rewards,
    whiten,
)
from openbook.training.objectives.policy_names import Baseline

NUMBERS = st.floats(-10, 10, allow_nan=False, width=32)
BASELINES: list[Baseline] = ["grpo", "dr_grpo", "rloo", "reinforce++", "reinforce++_baseline"]


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    """Rewards and values of the tokens of some answers."""
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    return tuple([draw(st.lists(NUMBERS, min_size=n, max_size=n)) for n in counts] for _ in range(2))  # type: ignore[return-value]


def brute_force(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """The definition, of one answer: the sum of all discounted errors from a token on."""
    behind = [*values[1:], 0.0]
    errors = [r + gamma * after - v for r, after, v in zip(rewards, behind, values, strict=True)]
    places = range(len(rewards))
    return [sum((gamma * lam) ** (k - t) * errors[k] for k in places if k >= t) for t in places]


@given(answers(), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_the_brute_force_sum(
    data: tuple[list[list[float]], list[list[float]]], gamma: float, lam: float
) -> None:
    rewards, values = data
    flat = [np.array([one for part in side for one in part]) for side in data]
    found = gae(*flat, np.array([len(one) for one in rewards]), gamma, lam)
    wanted = [one for r, v in zip(rewards, values, strict=True) for one in brute_force(r, v, gamma, lam)]
    np.testing.assert_allclose(found.advantages, wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.returns, np.array(wanted) + flat[1], rtol=1e-9, atol=1e-9)


@given(answers(), answers())
def test_nothing_leaks_in_from_behind_the_last_token(
    data: tuple[list[list[float]], list[list[float]]], behind: tuple[list[list[float]], list[list[float]]]
) -> None:
    def found(parts: list[tuple[list[list[float]], list[list[float]]]]) -> list[float]:
        flat = [np.array([x for part in parts for one in part[side] for x in one]) for side in (0, 1)]
        counts = np.array([len(one) for part in parts for one in part[0]])
        return gae(*flat, counts, 1.0, 0.95).advantages.tolist()

    alone = found([data])
    assert found([data, behind])[: len(alone)] == alone
    assert found([behind, data])[-len(alone) :] == alone


def test_with_lambda_1_an_advantage_is_what_came_less_what_was_expected() -> None:
    rewards, values, counts = np.array([0.0, 0.0, 1.0, 0.5]), np.array([0.2, 0.4, 0.7, 0.1]), np.array([3, 1])
    found = gae(rewards, values, counts, 1.0, 1.0)
    np.testing.assert_allclose(found.advantages, returns_to_go(rewards, counts) - values)
    np.testing.assert_allclose(found.returns, [1, 1, 1, 0.5])


def test_returns_are_discounted_to_the_end_of_their_own_answer() -> None:
    found = returns_to_go(np.array([1.0, 2.0, 4.0, 8.0]), np.array([3, 1]), gamma=0.5)
    np.testing.assert_allclose(found, [1 + 1 + 1, 2 + 2, 4, 8])


def test_the_score_stands_at_the_last_token_and_every_token_pays_for_its_divergence() -> None:
    found = token_rewards(np.array([1.0, -2.0]), np.array([0.1, 0.2, 0.4, -0.1]), np.array([3, 1]), beta=0.5)
    np.testing.assert_allclose(found, [-0.05, -0.1, 1 - 0.2, -2 + 0.05])


def test_an_answer_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="has no tokens"):
        gae(np.ones(2), np.ones(2), np.array([2, 0]))


def test_normalisations_match_hand_computed_values() -> None:
    """Rewards 1, 0, 0, 1 and 3, 1: means 0.5 and 2, deviations sqrt(1/3) and sqrt(2)."""
    rewards, groups = np.array([1.0, 3, 0, 0, 1, 1]), np.array([0, 1, 0, 0, 0, 1])
    root, two = math.sqrt(1 / 3) + GROUP_EPS, math.sqrt(2) + GROUP_EPS
    wanted: dict[Baseline, list[float]] = {
        "grpo": [0.5 / root, 1 / two, -0.5 / root, -0.5 / root, 0.5 / root, -1 / two],
        "dr_grpo": [0.5, 1, -0.5, -0.5, 0.5, -1],
        "rloo": [1 - 1 / 3, 3 - 1, 0 - 2 / 3, 0 - 2 / 3, 1 - 1 / 3, 1 - 3],
        "reinforce++": [(r - 1) / math.sqrt(statistics.variance([1, 3, 0, 0, 1, 1])) for r in (1, 3, 0, 0, 1, 1)],
        "reinforce++_baseline": [x / math.sqrt(3 / 5) for x in (0.5, 1, -0.5, -0.5, 0.5, -1)],
    }
    for baseline in BASELINES:
        np.testing.assert_allclose(group_advantages(baseline, rewards, groups).values, wanted[baseline], atol=1e-7)


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=5), min_size=1, max_size=4))
def test_each_group_is_judged_by_its_own(rewards: list[list[float]]) -> None:
    groups = np.repeat(np.arange(len(rewards)), [len(one) for one in rewards])
    flat = np.array([one for group in rewards for one in group])
    for baseline in BASELINES[:3]:
        found = group_advantages(baseline, flat, groups)
        alone = [group_advantages(baseline, np.array(one), np.zeros(len(one), np.int64)).values for one in rewards]
        np.testing.assert_allclose(found.values, np.concatenate(alone), atol=1e-9)
    assert found.has_signal.tolist() == [has_signal(np.array(one)) for one in rewards]


@pytest.mark.parametrize("baseline", BASELINES)
def test_groups_of_equal_rewards_say_nothing_and_are_counted(baseline: Baseline) -> None:
    rewards, groups = np.array([0.3, 0.3, 0.3, 1.0, 0.0, 0.7]), np.array([0, 0, 0, 1, 1, 2])
    found = group_advantages(baseline, rewards, groups)
    assert found.has_signal.tolist() == [False, True, False]
    assert found.share_without_signal == pytest.approx(2 / 3)
    if baseline != "reinforce++":  # whose baseline is the batch
        np.testing.assert_allclose(found.values[[0, 1, 2, 5]], 0, atol=1e-12)
        assert found.values[3] > 0 > found.values[4]


def test_a_batch_of_equal_rewards_has_no_advantages_and_no_nan() -> None:
    for baseline in BASELINES:
        found = group_advantages(baseline, np.ones(4), np.array([0, 0, 1, 1]))
        assert found.values.tolist() == [0, 0, 0, 0] and found.share_without_signal == 1


def test_rewards_that_are_no_numbers_and_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="no number"):
        group_advantages("grpo", np.array([1.0, math.nan]), np.array([0, 0]))
    with pytest.raises(ValueError, match="group 1 has no answers"):
        group_advantages("grpo", np.ones(2), np.array([0, 2]))


@given(st.lists(NUMBERS, min_size=2, max_size=20))
def test_whitening_gives_variance_1_and_leaves_or_shifts_the_mean(values: list[float]) -> None:
    given_ = np.array(values)
    shifted, kept = whiten(given_), whiten(given_, shift_mean=False)
    np.testing.assert_allclose(kept - shifted, given_.mean(), atol=1e-9)
    assert shifted.mean() == pytest.approx(0, abs=1e-6)
    if given_.std() > 1e-2:
        assert shifted.std(ddof=1) == pytest.approx(1, abs=1e-3)


def test_a_single_value_has_no_variance() -> None:
    assert whiten(np.array([3.0])).tolist() == [0] and whiten(np.array([3.0]), shift_mean=False).tolist() == [3]


def test_explained_variance() -> None:
    returns = np.array([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(returns, returns) == 1
    assert explained_variance(np.full(4, 2.5), returns) == 0
    assert explained_variance(returns[::-1], returns) == pytest.approx(-3)
    assert explained_variance(returns, np.ones(4)) is None


def test_a_batch_over_two_ranks_is_normalised_as_one() -> None:
    """Each rank adds up what both have asked for."""
    draw = np.random.default_rng(3)
    both = [draw.normal(2, 3, size) for size in (5, 9)]
    barrier, asked = Barrier(2), [list[float](), list[float]()]

    def rank(number: int) -> list[list[float]]:
        def add_up(own: Sequence[float]) -> list[float]:
            asked[number] = list(own)
            barrier.wait()
            found = [a + b for a, b in zip(*asked, strict=True)]
            barrier.wait()
            return found

        whitened = whiten(both[number], add_up=add_up)
        groups = np.zeros(len(both[number]), np.int64)
        return [whitened.tolist(), group_advantages("reinforce++", both[number], groups, add_up).values.tolist()]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(rank, (0, 1)))
    for one in (0, 1):
        np.testing.assert_allclose(found[0][one] + found[1][one], whiten(np.concatenate(both)))
