"""What a run tells of itself: after each step, of its best evaluation, and at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from openbook.training.evaluate import Evaluation
from openbook.training.events import EventFile
from openbook.training.log import Log
from openbook.training.loop import Step


class Status(NamedTuple):
    """After a step. `left_s`: seconds for the steps that are left, as fast as the last ones. `memory_bytes`: the most that the
    process has had. `evaluation`: where there was one.
    """

    step: Step
    steps: int
    tokens_per_s: float
    left_s: float
    memory_bytes: int
    evaluation: Evaluation | None = None


class Outcome(NamedTuple):
    """`ended`: "done", "stopped early" or "interrupted". `loss`: of the last step, `best_loss`: of the best evaluation."""

    ended: str
    done: int
    steps: int
    loss: float
    best_loss: float | None
    best_step: int | None
    model: Path | None


@dataclass
class Best:
    """Of all evaluations so far. `since`: how many came after it."""

    loss: float = math.inf
    step: int | None = None
    since: int = 0

    def saw(self, loss: float, step: int) -> bool:
        """Whether it is a new best."""
        if loss < self.loss:
            self.loss, self.step, self.since = loss, step, 0
            return True
        self.since += 1
        return False


def write_status(status: Status, log: Log | None, events: EventFile | None, *, only_evaluation: bool = False) -> None:
    step = status.step
    rows: list[dict[str, float]] = []
    if not only_evaluation:
        rows.append(
            {
                "loss": step.loss,
                "rate": step.rate,
                "norm": step.norm,
                "weight": step.weight,
                "tokens": step.tokens,
                "seconds": round(step.seconds, 6),
                "memory_bytes": status.memory_bytes,
            }
            | step.metrics
        )
    if status.evaluation is not None:
        found = status.evaluation
        rows.append({"eval_loss": found.loss} | {f"eval_{name}": value for name, value in found.metrics.items()})
    for row in rows:
        if log is not None:
            log.write({"step": step.number} | row)
        if events is not None:
            events.write(step.number, row)
