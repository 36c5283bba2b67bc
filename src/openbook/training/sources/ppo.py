"""Steps of PPO: answers of the policy, judged once, then learned from several times in small batches.

Each small batch is judged in the pieces that it is learned in: before the first change every ratio is 1 exactly. They are put
together once a rollout; epochs differ in their order. In reading order: what is rolled out, the settings, the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from openbook.core.errors import RunStopped
from openbook.training.advantages import Floats
from openbook.training.kl_control import KlControl
from openbook.training.parallel import Ranks
from openbook.training.sources.answers import Answer, Answers
from openbook.training.sources.experience import Experience, Told


class Rolled(NamedTuple):
    """Answers that the policy has just written, S of this rank. rewards: (S,). is_finished: whether each ended by itself."""

    answers: Sequence[Answer]
    rewards: Floats
    is_finished: Sequence[bool]
    told: Told


class Rollouts(Protocol):
    """Writes answers with the policy as it is. State as of a `Source`."""

    def roll(self) -> Rolled: ...

    def state(self) -> dict[str, Any]: ...

    def resume(self, state: dict[str, Any]) -> None: ...


class Judge(Protocol):
    """Makes experience of answers (`estimates.Estimates`)."""

    def __call__(self, micros: Sequence[Answers], scores: Sequence[Floats], price: float) -> Judged: ...


class Judged(NamedTuple):
    """divergence: nats of an answer from the reference, the sum over those of this rank."""

    micros: list[Experience]
    divergence: float
    told: Told


class PpoPace(NamedTuple):
    """How often and in how large pieces a rollout is learned from. `max_kl`: nats of a token; a step that moves the policy
    further from the one that wrote is the last one of its rollout.
    """

    epochs: int = 4
    minibatches: int = 1
    micro_batch_size: int = 8
    missing_eos_penalty: float = 0.0
    max_kl: float | None = None


class PpoSource:
    """A step is a small batch; after epochs x minibatches of them the policy writes anew."""

    def __init__(
        self, rollouts: Rollouts, judge: Judge, control: KlControl, pace: PpoPace, *, seed: int, ranks: Ranks
    ) -> None:
        self._rollouts, self._judge, self._control, self._pace = rollouts, judge, control, pace
        self._seed, self._ranks, self._number = seed, ranks, 0
        self._batches: list[list[Experience]] = []
        self._left: list[int] = []  # numbers of batches that are still to be learned from
        self._was_cut = False

    def next_step(self) -> list[Experience]:
        """RunStopped where no answer of any rank has a reward."""
        if not self._left:
            self._roll()
        return self._batches[self._left.pop(0)]

    def saw(self, metrics: Mapping[str, float]) -> None:
        """Ends a rollout whose policy has moved too far. All ranks see the same numbers."""
        most = self._pace.max_kl
        if most is not None and metrics["approx_kl"] > most and self._left:
            self._left, self._was_cut = [], True

    def state(self) -> dict[str, Any]:
        batches = [[one.state() for one in batch] for batch in self._batches] if self._left else []
        return {
            "rollouts": self._rollouts.state(),
            "number": self._number,
            "left": list(self._left),
            "batches": batches,
            "price": self._control.price,
            "was_cut": self._was_cut,
        }

    def resume(self, state: dict[str, Any]) -> None:
        self._rollouts.resume(state["rollouts"])
        self._number, self._left = int(state["number"]), [int(one) for one in state["left"]]
        self._batches = [[Experience.resumed(one) for one in batch] for batch in state["batches"]]
        self._control.price, self._was_cut = float(state["price"]), bool(state["was_cut"])

    def _roll(self) -> None:
        pace, draw = self._pace, np.random.default_rng([self._seed, self._number])
        rolled = self._rollouts.roll()
        kept = [place for place, (_, learned) in enumerate(rolled.answers) if learned[1:].any()]
        (count,) = self._ranks.sum([float(len(kept))])
        if not count:
            raise RunStopped(f"no answer of rollout {self._number} can be learned from", "look at its rewards")
        scores = np.asarray(rolled.rewards, np.float64) - pace.missing_eos_penalty * ~np.array(rolled.is_finished, bool)
        places = [kept[one] for one in draw.permutation(len(kept))]
        batches = [_pieces(part, pace.micro_batch_size) for part in _parts(places, pace.minibatches)]
        pieces = [piece for batch in batches for piece in batch]
        micros = [Answers.of([rolled.answers[place] for place in piece]) for piece in pieces]
        price = self._control.price
        judged = self._judge(micros, [scores[piece] for piece in pieces], price)
        (divergence,) = self._ranks.sum([judged.divergence])
        self._control.saw(divergence / count, round(count))
        made = iter(judged.micros)
        self._batches = [[next(made) for _ in batch] for batch in batches]
        told = {**rolled.told, **judged.told, "kl_price": (price, 1.0), "kl_cut": (float(self._was_cut), 1.0)}
        for batch in self._batches:
            batch[:1] = [one.with_told(told) for one in batch[:1]]
        order = np.random.default_rng([self._seed, self._number, 1])  # the same on every rank
        self._left = [int(one) for _ in range(pace.epochs) for one in order.permutation(pace.minibatches)]
        self._number, self._was_cut = self._number + 1, False


def _parts(places: Sequence[int], count: int) -> list[Sequence[int]]:
    """`count` parts whose sizes differ by one at most."""
    cuts = [round(one * len(places) / count) for one in range(count + 1)]
    return [places[begin:end] for begin, end in pairwise(cuts)]


def _pieces(places: Sequence[int], size: int) -> list[list[int]]:
    return [list(places[at : at + size]) for at in range(0, len(places), size)]
