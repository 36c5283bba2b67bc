"""Steps of what the model writes itself: prompts -> completions -> rewards -> advantages -> micro-batches.

In reading order: what a micro-batch holds; what is made of a rollout (`Learner`); the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.core.errors import RunStopped
from openbook.core.faults import fault_point
from openbook.training.data.order import Order, Place
from openbook.training.parallel import Ranks
from openbook.training.rollouts.episode import Episode
from openbook.training.rollouts.prompts import Prompt
from openbook.training.rollouts.rolling import Rolled, Roller, Times
from openbook.training.rollouts.samples import SampleLog
from openbook.training.rollouts.settings import Limits
from openbook.training.sources.answers import Answers

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
Values = Mapping[str, Sequence[NDArray[np.float32]]]
"""name -> of each episode (T,): a number for each token that is learned."""
Told = Mapping[str, tuple[float, float]]
_EVALUATION = 1 << 62
"""Above the numbers of rollouts: draws of evaluations are their own, always the same."""
_TRIES = 8
"""Rollouts one after the other from which nothing can be learned."""


@dataclass(frozen=True)
class Rollouts(Answers):
    """S episodes. Everything of a token stands in the order of `targets`, (M,) float32: advantages; sampled: log-probabilities as
    the program that wrote says them; old: as the model did that began to learn from them (None: it is this one); reference: of
    the model that the run began with. told: what the log is to know of the rollout, with its first micro-batch.
    is_first: nothing has been learned since it was written.
    """

    advantages: Tensor = field(default_factory=lambda: torch.empty(0))
    sampled: Tensor = field(default_factory=lambda: torch.empty(0))
    old: Tensor | None = None
    reference: Tensor | None = None
    told: Told = field(default_factory=dict)
    is_first: bool = True

    def shown(self) -> tuple[list[int], list[bool]]:
        """The first that something is learned of."""
        return self.shown_at(int((self.counts > 0).int().argmax()))


@dataclass(frozen=True)
class Judged:
    """Completions that are only evaluated. rewards: (S,)."""

    rewards: Tensor
    told: Told


class Learner(Protocol[M_co]):
    """What is learned from episodes: GRPO and its kin, PPO, or a teacher."""

    def prepare(self, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]) -> tuple[Values, Told]:
        """What each token is worth, over all ranks. `parts`: the episodes of each micro-batch of the first pass, in which the
        model is to be asked for log-probabilities, so that they are to the bit those of the first step. May take the model as it
        is; nothing has been learned since it wrote.
        """
        ...

    def micro(
        self, episodes: Sequence[Episode], values: Values, places: Sequence[int], told: Told, *, is_first: bool
    ) -> M_co:
        """The micro-batch of `places`."""
        ...

    def has_signal(self, group: Sequence[Episode]) -> bool:
        """Whether a group is to be learned from; others are drawn in the place of those that are not."""
        ...


@runtime_checkable
class KeepsState(Protocol):
    """A learner whose next rollout depends on those before. As of a `Source`."""

    def state(self) -> dict[str, Any]: ...

    def resume(self, state: dict[str, Any]) -> None: ...


def in_order(answers: Sequence[Episode], values: Sequence[NDArray[np.float32]]) -> Tensor:
    """(M,) of each episode's (T,), as `Answers.of` lays tokens out: the longest first."""
    lengths = [len(one.prompt_ids) + len(one.ids) for one in answers]
    order = sorted(range(len(answers)), key=lambda place: -lengths[place])
    return torch.from_numpy(np.concatenate([values[place] for place in order]).astype(np.float32))


@dataclass(frozen=True)
class Schedule:
    """`batch_size`: episodes of an optimizer step over all ranks; `micro`: of a forward pass; `completions` of each prompt;
    `minibatches` steps a pass, `epochs` passes over what was written; `redraws`: times that other prompts are drawn for groups
    that teach nothing (0: they stay). `most_kl`: nats a token from the policy that wrote; a step beyond it is the last one of its
    rollout.
    """

    batch_size: int
    micro: int
    completions: int
    minibatches: int = 1
    epochs: int = 1
    redraws: int = 0
    most_kl: float | None = None

    @property
    def prompts(self) -> int:
        """Of a rollout."""
        return self.batch_size * self.minibatches // self.completions


@dataclass
class _Batch:
    """A rollout that is being learned from. `taken`: steps; `is_fresh`: none of them has learned anything."""

    episodes: list[Episode]
    values: Values
    told: Told
    taken: int = 0
    is_fresh: bool = True

    def learned_of(self, places: Sequence[int]) -> int:
        return sum(self.episodes[place].num_learned for place in places)


class RolloutSource(Generic[M]):
    """Each rank rolls out its own prompts. The same for the same seed and weights."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        roller: Roller,
        learner: Learner[M],
        schedule: Schedule,
        ranks: Ranks,
        *,
        seed: int,
        limits: Limits,
        samples: SampleLog | None = None,
        vocab_size: int = 2,
        leaves_out_truncated: bool = False,
        needs_rewards: bool = True,
    ) -> None:
        self._prompts, self._roller, self._learner, self._how, self._ranks = prompts, roller, learner, schedule, ranks
        self._order, self._seed = Order(len(prompts), seed), seed
        self._limits, self._samples, self._guess = limits, samples, math.log(vocab_size)
        self._leaves_out_truncated, self._needs_rewards = leaves_out_truncated, needs_rewards
        self._number = 0
        self._beyond: dict[str, int] = {}
        self._batch: _Batch | None = None

    def next_step(self) -> list[M]:
        while True:
            if self._batch is None or self._batch.taken >= self.steps_a_rollout:
                self._batch = self._rolled()
            batch = self._batch
            parts = self._parts(len(batch.episodes), batch.taken)
            batch.taken += 1
            if self._ranks.any(any(batch.learned_of(part) for part in parts)):
                break  # else all of this minibatch was cut
        parts = [part for part in parts if batch.learned_of(part)] or parts[:1]
        told: Iterator[Told] = iter([batch.told])
        is_first, batch.told, batch.is_fresh = batch.is_fresh, {}, False
        return [
            self._learner.micro(batch.episodes, batch.values, part, next(told, {}), is_first=is_first) for part in parts
        ]

    @property
    def steps_a_rollout(self) -> int:
        return self._how.minibatches * self._how.epochs

    def is_shared(self) -> bool:
        return self._batch is None or self._batch.taken >= self.steps_a_rollout

    def saw(self, metrics: Mapping[str, float]) -> None:
        """What a step came to. RunStopped where the policy has collapsed."""
        limits, most_kl = self._limits, self._how.most_kl
        if most_kl is not None and self._batch is not None and metrics.get("approx_kl", 0.0) > most_kl:
            self._batch.taken = self.steps_a_rollout
        seen: list[tuple[str, float | None, float | None, float | None]] = [
            ("divergence from the reference", metrics.get("kl"), None, limits.kl),
            ("divergence from what wrote", metrics.get("approx_kl"), None, limits.kl),
            ("entropy", metrics.get("entropy"), limits.least_entropy, (limits.most_entropy or math.inf) * self._guess),
            ("length", metrics.get("length"), limits.least_length, limits.most_length),
        ]
        for name, value, least, most in seen:
            if value is None:
                continue
            is_beyond = (least is not None and value < least) or (most is not None and value > most)
            self._beyond[name] = self._beyond.get(name, 0) + 1 if is_beyond else 0
            if self._beyond[name] >= limits.patience:
                bound = f"below {least:g}" if least is not None and value < least else f"above {most:g}"
                raise RunStopped(
                    f"the policy has collapsed: its {name} is {value:.4g}, {bound}, for {limits.patience} steps",
                    "lower lr or raise beta, and go on from an earlier checkpoint; rollout.limits holds the bounds",
                )

    def evaluated(
        self, judge: Roller, prompts: Sequence[Prompt], completions: int, most: int | None
    ) -> Iterator[Judged]:
        """This rank's part of completions by the weights as they are, at most `most` prompts; each time the same draws."""
        mine = list(enumerate(prompts))[:most][self._ranks.rank :: self._ranks.world_size]
        judge.renew()  # also where nothing is to be written: every rank takes part
        try:
            rolled = judge.roll(mine, completions, _EVALUATION) if mine else None
        finally:
            judge.rest()
        total = np.empty(0) if rolled is None else rolled.table.total
        known = total[~np.isnan(total)]
        if not self._ranks.any(bool(len(known))):
            raise RunStopped("no held-out completion has a reward", "see their faults in samples, and rewards.on_fault")
        if rolled is not None:
            yield Judged(torch.from_numpy(known), told_of(rolled))

    def state(self) -> dict[str, Any]:
        said: dict[str, Any] = {"place": list(self._order.place), "number": self._number, "beyond": dict(self._beyond)}
        said["processes"] = self._ranks.world_size
        if self._roller.rewards is not None:
            said["rewards"] = self._roller.rewards.state()
        if isinstance(self._learner, KeepsState):
            said["learner"] = self._learner.state()
        if (batch := self._batch) is not None and not self.is_shared():
            said["batch"] = {
                "episodes": [one.said() for one in batch.episodes],
                "values": {name: [each.tolist() for each in values] for name, values in batch.values.items()},
                "taken": batch.taken,
            }
        return said

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place, self._number = Place(*state["place"]), state["number"]
        self._beyond = dict(state["beyond"])
        if self._roller.rewards is not None:
            self._roller.rewards.resume(state["rewards"])
        if isinstance(self._learner, KeepsState):
            self._learner.resume(state["learner"])
        self._batch = None
        if self._samples is not None and self._ranks.is_first:
            self._samples.keep_until(self._number)
        if (said := state.get("batch")) is not None:
            if state["processes"] != self._ranks.world_size:
                raise ValueError(f"its rollout is half learned by {state['processes']} processes: go on with as many")
            values = {name: [np.array(one, np.float32) for one in each] for name, each in said["values"].items()}
            self._batch = _Batch(
                [Episode(**one) for one in said["episodes"]], values, {}, said["taken"], said["taken"] == 0
            )

    def _rolled(self) -> _Batch:
        """Writes, scores and weighs what the next steps learn from. RunStopped where nothing can be learned time and again."""
        self._number += 1
        renewal = self._roller.renew()
        try:
            for _ in range(_TRIES):
                rolled, redrawn = self._with_signal()
                told = told_of(rolled)
                if self._ranks.any(self._kept(rolled)):
                    break
            else:
                raise RunStopped(
                    f"of {_TRIES} rollouts no completion can be learned from: none has a reward, or all were cut",
                    "raise rollout.max_tokens, or see completions with `openbook train --check`",
                )
        finally:
            self._roller.rest()
        fault_point("train.rolled")
        count = len(rolled.episodes)
        parts = [part for taken in range(self._how.minibatches) for part in self._parts(count, taken)]
        values, more = self._learner.prepare(rolled.episodes, parts)
        told = {**told, **more, "renew_s": (renewal.seconds, 1.0), "renew_mb": (renewal.bytes / 1e6, 1.0)}
        if self._how.redraws:
            told["redrawn"] = (float(redrawn), 1.0)
        if self._samples is not None and self._ranks.is_first:
            self._samples.write(self._number, rolled.episodes, self._roller.tokenizer)
        fault_point("train.prepared")
        return _Batch(rolled.episodes, values, told)

    def _kept(self, rolled: Rolled) -> bool:
        """Takes out what has no reward, and marks what is left out; whether something can be learned."""
        if self._needs_rewards:
            rolled.episodes = [one for one in rolled.episodes if math.isfinite(one.reward)]
        for one in rolled.episodes:
            one.is_left_out = self._leaves_out_truncated and not one.is_finished
        return any(one.num_learned for one in rolled.episodes)

    def _with_signal(self) -> tuple[Rolled, int]:
        """A rollout whose groups teach something, as far as other prompts could be found; and how often others were drawn. Its
        rewards are told of the first draw, which nothing was chosen from.
        """
        how, rolled = self._how, self._roll()
        if not how.redraws:
            return rolled, 0
        wanted = how.prompts // self._ranks.world_size
        kept, idle, rounds = self._groups(rolled), self._idle(rolled), [rolled]
        while self._ranks.any(len(kept) < wanted) and len(rounds) <= how.redraws:
            rounds.append(self._roll())
            kept += self._groups(rounds[-1])
            idle += self._idle(rounds[-1])
        chosen = (kept + idle)[:wanted]
        for number, group in enumerate(chosen):
            for one in group:
                one.group = number
        times = Times(*(sum(parts) for parts in zip(*(one.times for one in rounds), strict=True)))
        return Rolled([one for group in chosen for one in group], rolled.table, times), len(rounds) - 1

    def _roll(self) -> Rolled:
        drawn = self._order.step(self._how.prompts)[self._ranks.rank :: self._ranks.world_size]
        count = len(self._prompts)  # a prompt that comes twice, in two epochs, is answered otherwise
        chosen = [(epoch * count + place, self._prompts[place]) for epoch, place in drawn]
        return self._roller.roll(chosen, self._how.completions, self._number)

    def _groups(self, rolled: Rolled) -> list[list[Episode]]:
        return [group for group in _grouped(rolled) if self._learner.has_signal(group)]

    def _idle(self, rolled: Rolled) -> list[list[Episode]]:
        return [group for group in _grouped(rolled) if not self._learner.has_signal(group)]

    def _parts(self, count: int, taken: int) -> list[list[int]]:
        """The episodes of each micro-batch of step `taken` of a rollout. The first pass is in the order of writing."""
        epoch, minibatch = divmod(taken, self._how.minibatches)
        order = np.arange(count)
        if epoch:
            key = [self._seed % 2**64, self._number]
            order = np.random.Generator(np.random.Philox(key=key, counter=[epoch, 0, 0, 0])).permutation(count)
        own = np.array_split(order, self._how.minibatches)[minibatch].tolist()
        return [own[at : at + self._how.micro] for at in range(0, len(own), self._how.micro)]


def told_of(rolled: Rolled) -> dict[str, tuple[float, float]]:
    """For the log, as sums with what they are divided by."""
    episodes, table = rolled.episodes, rolled.table
    count = float(len(episodes))
    known = table.total[~np.isnan(table.total)]
    told = {
        "length": (float(sum(one.num_written for one in episodes)), count),
        "finished": (float(sum(one.is_finished for one in episodes)), count),
        "rollout_s": (rolled.times.write, 1.0),
    }
    if table.by_name:
        spread = float(known.std()) * len(known) if len(known) else 0.0
        told |= {
            "reward": (float(known.sum()), float(len(known))),
            "reward_std": (spread, float(len(known))),
            "reward_s": (rolled.times.reward, 1.0),
            "reward_faults": (float(len(table.faults)), 1.0),
        }
    for name, values in table.by_name.items():
        own = values[~np.isnan(values)]
        told[f"reward/{name}"] = (float(own.sum()), float(len(own)))
    if any(one.turns > 1 or one.faults for one in episodes):
        told["turns"] = (float(sum(one.turns for one in episodes)), count)
        told["environment_faults"] = (float(sum(one.faults for one in episodes)), 1.0)
    return told


def _grouped(rolled: Rolled) -> list[list[Episode]]:
    groups: dict[int, list[Episode]] = {}
    for one in rolled.episodes:
        groups.setdefault(one.group, []).append(one)
    return list(groups.values())
