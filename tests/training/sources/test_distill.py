"""Shares of a student's steps: which step is of what follows from the seed and its number alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from openbook.training.rollouts.episode import Episode
from openbook.training.sources.distill import OwnWords, SharedSource


class Counted:
    """Steps of one kind, numbered."""

    def __init__(self, kind: str) -> None:
        self.kind, self.number, self.seen = kind, 0, list[Any]()

    def next_step(self) -> list[Any]:
        self.number += 1
        return [(self.kind, self.number)]

    def saw(self, metrics: Any) -> None:
        self.seen.append(metrics)

    def state(self) -> dict[str, Any]:
        return {"number": self.number}

    def resume(self, state: dict[str, Any]) -> None:
        self.number = state["number"]


def shared(share: float, seed: int = 0) -> Any:
    data: Any = Counted("data")
    own: Any = Counted("own")
    return SharedSource(data, own, share, seed)


def taken(source: Any, count: int) -> list[Any]:
    return [source.next_step()[0] for _ in range(count)]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_shares_are_as_they_are_asked_for_and_each_kind_is_in_order(share: float) -> None:
    found = taken(shared(share), 1_000)
    own = [number for kind, number in found if kind == "own"]
    assert own == list(range(1, len(own) + 1))
    assert len(own) / 1_000 == pytest.approx(share, abs=0.05)


def test_the_order_is_the_seeds() -> None:
    assert taken(shared(0.5, 1), 50) == taken(shared(0.5, 1), 50)
    assert taken(shared(0.5, 1), 50) != taken(shared(0.5, 2), 50)


def test_it_goes_on_where_it_was() -> None:
    whole, first, second = shared(0.5), shared(0.5), shared(0.5)
    wanted = taken(whole, 40)
    began = taken(first, 17)
    second.resume(json.loads(json.dumps(first.state())))
    assert began + taken(second, 23) == wanted


def test_own_words_are_the_completions_and_nothing_of_their_prompts() -> None:
    episodes = [
        Episode(0, 0, [7, 8, 9], [1, 2], [True, True], [-1.0, -1.0]),
        Episode(1, 1, [5], [3, 30, 4], [True, False, True], [-1.0, -1.0]),
        Episode(2, 2, [6, 6], [2], [True], [-1.0], is_left_out=True),
    ]
    found = OwnWords().micro(episodes, {}, [0, 1, 2], {"length": (6.0, 3.0)}, is_first=True)
    assert sorted(found.targets.tolist()) == [1, 2, 3, 4]
    assert found.lengths == sorted(found.lengths, reverse=True) and sum(found.lengths) == len(found.ids)
    assert found.weight == 4 and found.told == {"length": (6.0, 3.0)}
    assert np.array_equal(found.ids[found.rows].numpy(), [9, 1, 5, 30])
    assert OwnWords().has_signal(episodes)
