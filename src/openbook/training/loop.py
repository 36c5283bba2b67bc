"""The one loop: micro-batches to sums, sums to one step, whatever is learned.

loss = (sum over all micro-batches and ranks) / (weight of all of them), so that a step is the same for every split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import nn

from openbook.core.errors import RunStopped
from openbook.lm.families.base import Family
from openbook.training.objectives.objective import Objective
from openbook.training.optimizer import Optimization, Optimizers
from openbook.training.schedule import Shape, factor
from openbook.training.sources.step import Source

M = TypeVar("M")


@dataclass(frozen=True)
class Pace:
    """`steps` optimizer steps; `precision`: of the products in forward and backward passes, the weights stay as they are."""

    steps: int
    schedule: Shape = "cosine"
    warmup_steps: int = 0
    decay_steps: int = 0
    least_rate: float = 0.1
    max_norm: float = 1.0
    precision: str = "float32"


@dataclass(frozen=True)
class Step:
    """What a step came to. `loss`: per unit of weight. `norm`: of the gradient, before it was clipped."""

    number: int
    loss: float
    rate: float
    norm: float
    weight: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


class Loop(Generic[M]):
    """Changes `model` in place. `done`: steps that were taken."""

    def __init__(
        self, model: Family, source: Source[M], objective: Objective[M], optimization: Optimization, pace: Pace
    ) -> None:
        self.model, self.source, self.objective, self.pace = model, source, objective, pace
        self.optimizers = Optimizers(model, optimization)
        self.trained = [one for one in model.parameters() if one.requires_grad]
        self.done = 0

    def run(self, after: Callable[[Step], None] | None = None) -> None:
        """All steps that are left; `after` is called with each."""
        for step in self.steps():
            if after is not None:
                after(step)

    def steps(self) -> Iterator[Step]:
        self.model.train()
        while self.done < self.pace.steps:
            yield self.step()

    def step(self) -> Step:
        """Raises RunStopped where the loss or the gradient is no number; then nothing has been changed."""
        began = time.monotonic()
        micros = self.source.next_step()
        weight = sum(self.objective.weight(micro) for micro in micros)
        if not weight:
            raise RunStopped(f"nothing is learned in step {self.done}", "see its data with `openbook train --check`")
        total, sums = 0.0, dict[str, list[float]]()
        for micro in micros:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.pace.precision == "bfloat16"):
                found = self.objective.loss(self.model, micro)
            (found.total / weight).backward()  # type: ignore[no-untyped-call]
            total += float(found.total.detach())
            for name, pair in found.metrics.items():
                sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), pair, strict=True)]
        norm = float(nn.utils.clip_grad_norm_(self.trained, self.pace.max_norm or math.inf))
        if not (math.isfinite(total) and math.isfinite(norm)):
            self.optimizers.zero_grad()
            raise RunStopped(f"the loss of step {self.done} is {total / weight}, its gradient {norm}", "lower the rate")
        share = factor(
            self.pace.schedule,
            self.done,
            self.pace.steps,
            warmup_steps=self.pace.warmup_steps,
            decay_steps=self.pace.decay_steps,
            least=self.pace.least_rate,
        )
        self.optimizers.set_rate(share)
        rate = next(iter(self.optimizers.groups()))["lr"]
        self.optimizers.step()
        self.optimizers.zero_grad()
        self.done += 1
        metrics = {name: a / b if b else 0.0 for name, (a, b) in sums.items()}
        return Step(self.done, total / weight, rate, norm, weight, time.monotonic() - began, metrics)
