"""The one loop: micro-batches to sums, sums to one step, whatever is learned.

loss = (sum over all micro-batches and ranks) / (weight of all of them), so that a step is the same for every split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import nn

from openbook.core.errors import RunStopped
from openbook.core.faults import fault_point
from openbook.lm.families.base import Family
from openbook.training.ema import Ema
from openbook.training.objectives.continual import Penalty
from openbook.training.objectives.objective import Objective, PreparesSteps
from openbook.training.optimizer import Optimization, Optimizers
from openbook.training.parallel import Ranks, clip_gradients
from openbook.training.precision import LossScaler, products_in
from openbook.training.schedule import Shape, factor
from openbook.training.sources.step import SeesSteps, Source

M = TypeVar("M")


class Diverged(RunStopped):
    """The loss or the gradient of a step is no number."""


@dataclass(frozen=True)
class Pace:
    """`steps` optimizer steps; `precision`: "float32", "bfloat16", "bfloat16-pure" or "float16" (see `precision`)."""

    steps: int
    schedule: Shape = "cosine"
    warmup_steps: int = 0
    decay_steps: int = 0
    least_rate: float = 0.1
    max_norm: float = 1.0
    precision: str = "float32"


@dataclass(frozen=True)
class Step:
    """What a step came to. `loss`: per unit of weight. `norm`: of the gradient, before it was clipped; infinite where the step
    was left out, because it overflowed float16. `tokens`: that all ranks read.
    """

    number: int
    loss: float
    rate: float
    norm: float
    weight: float
    seconds: float
    tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


class Loop(Generic[M]):
    """Changes `model` in place, and what is `beside` it. `done`: steps that were taken. `micros`: what the last one read."""

    def __init__(
        self,
        model: Family,
        source: Source[M],
        objective: Objective[M],
        optimization: Optimization,
        pace: Pace,
        *,
        ranks: Ranks | None = None,
        ema: float | None = None,
        penalty: Penalty | None = None,
        beside: nn.Module | None = None,
    ) -> None:
        self.model, self.source, self.objective, self.pace = model, source, objective, pace
        self.optimizers, self.beside = Optimizers(model, optimization, beside), beside
        others = () if beside is None else beside.parameters()
        self.trained = [one for one in (*model.parameters(), *others) if one.requires_grad]
        self.ranks, self.penalty = ranks or Ranks(), penalty
        self.ema = None if ema is None else Ema(model, ema)
        self.scaler = LossScaler() if pace.precision == "float16" else None
        self.done = 0
        self.micros: list[M] = []
        self._most: dict[str, float] = {}

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
        """Raises Diverged where the loss or the gradient is no number; then nothing has been changed."""
        began = time.monotonic()
        self.micros = self.source.next_step()
        weight, tokens = self.ranks.sum(
            [sum(self.objective.weight(one) for one in self.micros), sum(tokens_of(one) for one in self.micros)]
        )
        if not weight:
            raise RunStopped(f"nothing is learned in step {self.done}", "see its data with `openbook train --check`")
        total, metrics = self._backward(weight)
        norm = clip_gradients(self.trained, self.pace.max_norm or math.inf, self.ranks)
        rate = self._update(total / weight, norm)
        self.done += 1
        if isinstance(self.source, SeesSteps):
            self.source.saw(metrics)
        seconds = time.monotonic() - began
        return Step(self.done, total / weight, rate, norm, weight, seconds, int(tokens), metrics)

    def _backward(self, weight: float) -> tuple[float, dict[str, float]]:
        """The sum of the loss, and the metrics, over all ranks; each parameter has its gradient."""
        factor = (self.scaler.factor if self.scaler is not None else 1.0) / weight
        micros, pipeline = self._prepared(), self.ranks.pipeline
        fault_point(f"train.passes.{self.ranks.process}")
        if pipeline is None:
            total, sums = self._passes(micros, factor)
        else:
            total, sums = pipeline.passes(self.objective, micros, factor, self.pace.precision)
        self.ranks.sum_gradients(self.trained)
        if self.scaler is not None:
            self.scaler.unscale(self.trained)
        metrics = {name: a / b if b else 0.0 for name, (a, b) in self.ranks.sum_named(sums).items()}
        metrics |= self.ranks.max_named(self._most)
        if self.penalty is not None:  # once a step, on every rank the same
            metrics["penalty"] = self.penalty.add_gradients()
        return self.ranks.sum([total])[0], metrics

    def _passes(self, micros: list[M], factor: float) -> tuple[float, dict[str, list[float]]]:
        """Forward and back through each; the sum of the loss, and those of the metrics."""
        total, sums = 0.0, dict[str, list[float]]()
        self._most = {}
        for micro in micros:
            with products_in(self.pace.precision, self.model.device):
                found = self.objective.loss(self.model, micro)
            (found.total * factor).backward()  # type: ignore[no-untyped-call]
            total += float(found.total.detach())
            add_metrics(sums, found.metrics)
            self._most |= {name: max(value, self._most.get(name, value)) for name, value in found.most.items()}
        return total, sums

    def _prepared(self) -> list[M]:
        if not isinstance(self.objective, PreparesSteps):
            return self.micros
        with products_in(self.pace.precision, self.model.device):
            found: list[M] = self.objective.prepare(self.model, self.micros, self.ranks)
        return found

    def _update(self, loss: float, norm: float) -> float:
        """Takes the step, and gives its rate."""
        is_finite = math.isfinite(loss) and math.isfinite(norm)
        if self.scaler is not None and math.isfinite(loss):
            self.scaler.saw(is_finite)
        elif not is_finite:
            self.optimizers.zero_grad()
            raise Diverged(f"the loss of step {self.done} is {loss}, its gradient {norm}", "lower the rate")
        self.optimizers.set_rate(self.factor())
        if is_finite:
            self.optimizers.step()
            if self.ema is not None:
                self.ema.update()
        self.optimizers.zero_grad()
        rate: float = next(iter(self.optimizers.groups()))["lr"]
        return rate

    def factor(self) -> float:
        """Of the rate in the step that comes."""
        return factor(
            self.pace.schedule,
            self.done,
            self.pace.steps,
            warmup_steps=self.pace.warmup_steps,
            decay_steps=self.pace.decay_steps,
            least=self.pace.least_rate,
        )


def add_metrics(sums: dict[str, list[float]], found: Mapping[str, tuple[float, float]]) -> None:
    """Those of a micro-batch to those before it, in place."""
    for name, pair in found.items():
        sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), pair, strict=True)]


def tokens_of(micro: object) -> int:
    """That a forward pass reads; 0 for what has no `ids`."""
    ids = getattr(micro, "ids", None)
    return 0 if ids is None else len(ids)
