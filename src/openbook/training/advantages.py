"""How much better than expected each token or answer was: numbers in, numbers out, float64.

Tokens of S answers lie end to end, `counts` (S,) of each; there is no padding that a value could leak from. In reading order:
answers in groups; tokens (GAE, returns, the divergence in the reward); normalisation, and how good values are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.training.objectives.policy_names import Baseline

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
AddUp = Callable[[Sequence[float]], list[float]]
"""Numbers of this process -> their sums over all, as `Ranks.sum`."""
GROUP_EPS = 1e-4
"""Beside the standard deviation of a group, as in TRL: equal rewards are not divided by 0."""
WHITEN_EPS = 1e-8
"""Beside a variance."""
_LEAST_SPREAD = 1e-8
"""Rewards of a group that differ by less are equal."""


class GroupAdvantages(NamedTuple):
    """values: (S,). has_signal: (G,), whether the rewards of each group differ; log the share of those that do not."""

    values: Floats
    has_signal: NDArray[np.bool_]

    @property
    def share_without_signal(self) -> float:
        return float(1 - self.has_signal.mean()) if len(self.has_signal) else 0.0


def group_advantages(baseline: Baseline, rewards: Floats, groups: Whole, add_up: AddUp = list) -> GroupAdvantages:
    """Of answers with `rewards` (S,) to prompts `groups` (S,), numbered from 0; groups may have different sizes. `add_up`: sums
    over all ranks, for what is normalised over the batch.

    grpo: (r - mean) / (std + eps) of the group. dr_grpo: r - mean. rloo: r - mean of the others of its group. reinforce++:
    (r - mean) / std over the whole batch. reinforce++_baseline: r - mean of the group, then over the batch. A group of one says
    nothing but in reinforce++: 0. Standard deviations have n - 1 below, as in TRL. ValueError for rewards that are no numbers,
    or a group without answers.

    Sources: Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.1.2; Liu et al. 2025,
    https://arxiv.org/abs/2503.20783, section 3.2; Kool et al. 2019, "Buy 4 REINFORCE samples", and Ahmadian et al. 2024,
    https://arxiv.org/abs/2402.14740 (rloo); Hu et al. 2025, https://arxiv.org/abs/2501.03262 (reinforce++).
    """
    rewards = np.asarray(rewards, np.float64)
    if not np.isfinite(rewards).all():
        raise ValueError("a reward is no number: leave that answer out")
    sizes = np.bincount(groups)
    if not sizes.all():
        raise ValueError(f"group {int(sizes.argmin())} has no answers: number the groups from 0 without gaps")
    means = np.bincount(groups, rewards) / sizes
    gained = rewards - means[groups]  # (S,)
    left = np.maximum(sizes - 1, 1)
    has_signal = _spreads(rewards, groups, len(sizes)) > _LEAST_SPREAD
    match baseline:
        case "grpo":
            stds = np.sqrt(np.bincount(groups, gained**2) / left)
            values = gained / (stds[groups] + GROUP_EPS)
        case "dr_grpo":
            values = gained
        case "rloo":  # r - (sum - r) / (n - 1) = (r - mean) n / (n - 1)
            values = gained * (sizes / left)[groups]
        case "reinforce++":
            values = whiten(rewards, add_up=add_up)
        case "reinforce++_baseline":
            values = whiten(gained, add_up=add_up)
    return GroupAdvantages(values, has_signal)


def has_signal(rewards: Floats) -> bool:
    """Whether a group of rewards says anything: they are not all equal. DAPO draws other prompts for those that do not.

    Source: Yu et al. 2025, https://arxiv.org/abs/2503.14476, equation 11.
    """
    return bool(len(rewards)) and float(np.ptp(rewards)) > _LEAST_SPREAD


class Estimated(NamedTuple):
    """advantages: (M,). returns: (M,), what a value should have been: advantage + value."""

    advantages: Floats
    returns: Floats


def gae(rewards: Floats, values: Floats, counts: Whole, gamma: float = 1.0, lam: float = 0.95) -> Estimated:
    """Generalised advantages of `rewards` (M,) and `values` (M,): sum over k of (gamma lam)^k delta_(t+k), with delta_t = r_t +
    gamma V_(t+1) - V_t, up to the last token of the same answer, behind which there is nothing.

    Source: Schulman et al. 2015, https://arxiv.org/abs/1506.02438, equation 16.
    """
    rewards, values = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    last = _lasts(counts)
    following = np.append(values[1:], 0.0)
    following[last] = 0.0
    deltas = rewards + gamma * following - values
    advantages = _discounted(deltas, last, gamma * lam)
    return Estimated(advantages, advantages + values)


def returns_to_go(rewards: Floats, counts: Whole, gamma: float = 1.0) -> Floats:
    """(M,): r_t + gamma r_(t+1) + ... to the end of the same answer: what REINFORCE weights a token by.

    Source: Williams 1992; Hu et al. 2025, https://arxiv.org/abs/2501.03262 (with the divergence in the rewards).
    """
    return _discounted(np.asarray(rewards, np.float64), _lasts(counts), gamma)


def token_rewards(scores: Floats, divergences: Floats, counts: Whole, beta: float) -> Floats:
    """(M,): -beta times what each token diverges (M,), and the score (S,) of an answer at its last token.

    Source: Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, equation 2; the place of the score: Huang et al. 2024,
    https://arxiv.org/abs/2403.17031.
    """
    found = -beta * np.asarray(divergences, np.float64)
    found[_lasts(counts)] += scores
    return found


def whiten(values: Floats, *, shift_mean: bool = True, add_up: AddUp = list) -> Floats:
    """Values with variance 1 and mean 0; with their own mean where it is not shifted. Fewer than two have no variance: 0, or
    themselves. `add_up`: sums of all ranks, whose values are one batch.

    Source: Ziegler et al. 2019, `utils.core.whiten` of https://github.com/openai/lm-human-preferences, with n - 1 below as TRL.
    """
    values = np.asarray(values, np.float64)
    count, mean, squares = _moments(values, add_up)
    if count < 2:
        return np.zeros_like(values) if shift_mean else values.copy()
    found: Floats = (values - mean) / np.sqrt(squares / (count - 1) + WHITEN_EPS)
    return found if shift_mean else found + mean


def explained_variance(values: Floats, returns: Floats, add_up: AddUp = list) -> float | None:
    """1 - Var(returns - values) / Var(returns): 1 where values are right, 0 where a constant would do as well, below it where it
    would do better. None where all returns are equal. `add_up`: as in `whiten`.
    """
    _, _, spread = _moments(np.asarray(returns, np.float64), add_up)
    _, _, left = _moments(np.asarray(returns, np.float64) - values, add_up)
    return 1 - left / spread if spread > 0 else None


def _moments(values: Floats, add_up: AddUp) -> tuple[float, float, float]:
    """How many, their mean, and the sum of squared distances from it."""
    count, total = add_up([float(len(values)), float(values.sum())])
    mean = total / max(count, 1.0)
    (squares,) = add_up([float(((values - mean) ** 2).sum())])
    return count, mean, squares


def _spreads(rewards: Floats, groups: Whole, count: int) -> Floats:
    """(count,): the largest reward of each group less the smallest."""
    high, low = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(high, groups, rewards)
    np.minimum.at(low, groups, rewards)
    spread: Floats = high - low
    return spread


def _lasts(counts: Whole) -> Whole:
    """Where the last token of each answer stands. ValueError for an answer without tokens."""
    if not np.all(np.asarray(counts) > 0):
        raise ValueError("an answer has no tokens: leave it out")
    last: Whole = np.cumsum(counts) - 1
    return last


def _discounted(values: Floats, last: Whole, factor: float) -> Floats:
    """x_t = values_t + factor x_(t+1), anew behind each `last`."""
    found = np.empty(len(values))
    ends = set(last.tolist())
    running = 0.0
    for place in range(len(values) - 1, -1, -1):
        running = values[place] + (0.0 if place in ends else factor * running)
        found[place] = running
    return found
