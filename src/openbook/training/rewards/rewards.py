"""Rewards together: a weighted sum, each one's own values, and what is done where one has none."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from openbook.core.errors import RunStopped
from openbook.training.rewards.sampled import Fault, Reward, Sampled, Score
from openbook.training.rewards.settings import OnFault
from openbook.training.rewards.table import Faulty, RewardTable

WINDOW = 100
"""Completions over which faults are counted."""


@dataclass
class Term:
    """`recent`: of the last completions, whether each had a fault."""

    reward: Reward
    weight: float = 1.0
    on_fault: OnFault = "stop"
    max_faults: float = 0.1
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))


class Rewards:
    """What `open_rewards` makes. Not thread-safe. Close it: functions have processes of their own."""

    def __init__(self, terms: Sequence[Term], closing: ExitStack | None = None) -> None:
        self.terms = tuple(terms)
        self._closing = closing or ExitStack()

    def score(self, samples: Sequence[Sampled]) -> RewardTable:
        """The rewards of `samples`. RunStopped where one has more faults than it may: more than `max_faults` of the last 100
        completions, or all of this call.
        """
        totals = np.zeros(len(samples))
        has_any, is_left_out = np.zeros(len(samples), bool), np.zeros(len(samples), bool)
        by_name, faults = {}, list[Faulty]()
        for term in self.terms:
            scores = _checked(term.reward(samples), len(samples))
            mine = [Faulty(at, term.reward.name, one) for at, one in enumerate(scores) if isinstance(one, Fault)]
            _count(term, scores, mine)
            if term.on_fault == "zero":
                scores = [0.0 if isinstance(one, Fault) else one for one in scores]
            else:
                is_left_out |= np.array([isinstance(one, Fault) for one in scores], bool)
            values = np.array([one if isinstance(one, float) else math.nan for one in scores], np.float64)
            is_said = ~np.isnan(values)
            totals += term.weight * np.where(is_said, values, 0.0)
            has_any |= is_said
            by_name[term.reward.name] = values
            faults += mine
        totals[is_left_out | ~has_any] = np.nan
        return RewardTable(totals, by_name, tuple(faults))

    def state(self) -> dict[str, Any]:
        """As JSON: with it, a run that goes on stops where it would have stopped."""
        return {"recent": [[int(one) for one in term.recent] for term in self.terms]}

    def resume(self, state: dict[str, Any]) -> None:
        for term, recent in zip(self.terms, state["recent"], strict=True):
            term.recent = deque(map(bool, recent), maxlen=WINDOW)

    def close(self) -> None:
        """Ends the processes of functions. Twice is no error."""
        self._closing.close()

    def __enter__(self) -> Rewards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(scores: Sequence[Score], count: int) -> list[Score]:
    """One for each completion, all finite."""
    if len(scores) != count:
        return [Fault("length", f"{len(scores)} rewards for {count} completions")] * count
    return [_finite(one) for one in scores]


def _finite(score: Score) -> Score:
    if score is None or isinstance(score, Fault):
        return score
    return float(score) if math.isfinite(score) else Fault("nan", f"the reward is {float(score)}")


def _count(term: Term, scores: Sequence[Score], faults: Sequence[Faulty]) -> None:
    """RunStopped where there are too many."""
    term.recent.extend(isinstance(one, Fault) for one in scores)
    if not faults or term.on_fault != "stop":
        return
    if len(faults) == len(scores):
        said = f"none of {len(scores)} completions has a reward"
    elif sum(term.recent) > term.max_faults * WINDOW:
        said = f"{sum(term.recent)} of the last {len(term.recent)} completions have no reward"
    else:
        return
    raise RunStopped(
        f"reward {term.reward.name}: {said} ({faults[0].fault.kind}: {faults[0].fault.message})",
        "mend it, or say what is done with them: on_fault: zero, or on_fault: skip",
    )
