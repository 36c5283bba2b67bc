"""The loss of a model on rows that it does not learn from: the same sums, divided by the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from openbook.lm.families.base import Family
from openbook.training.objectives.objective import Objective, PreparesEvaluation
from openbook.training.parallel import Ranks, is_sharded
from openbook.training.precision import products_in

M = TypeVar("M")


@dataclass(frozen=True)
class Evaluation:
    """`loss`: per unit of `weight`, over all ranks."""

    loss: float
    weight: float
    metrics: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def evaluate(
    model: Family,
    objective: Objective[M],
    micros: Iterable[M],
    ranks: Ranks,
    precision: str = "float32",
    spare: M | None = None,
) -> Evaluation:
    """Leaves the model in the mode it was in, and draws nothing, so that a run with it is the run without it.

    `spare`: what a rank reads beside the others when it has fewer micro-batches, where each has a part of the parameters only:
    nobody's forward pass ends without all. It does not count.
    """
    was_training = model.training
    model.eval()
    total, weight, beside = 0.0, 0.0, list[M]()
    sums: dict[str, list[float]] = {}
    try:
        if ranks.pipeline is not None:
            seen = list(micros)
            total, sums = ranks.pipeline.looked(objective, seen, precision)
            weight, micros = sum(map(objective.weight, seen)), ()
        if spare is not None and is_sharded(model):
            micros = list(micros)
            beside = [spare] * (int(ranks.max(len(micros))) - len(micros))
        if isinstance(objective, PreparesEvaluation):
            with products_in(precision, model.device):
                micros = objective.prepare_evaluation(model, list(micros), ranks, beside)
        for one in beside:
            with products_in(precision, model.device):
                objective.loss(model, one)
        for micro in micros:
            with products_in(precision, model.device):
                found = objective.loss(model, micro)
            total, weight = total + float(found.total), weight + found.weight
            for name, pair in found.metrics.items():
                sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), pair, strict=True)]
    finally:
        model.train(was_training)
    total, weight = ranks.sum([total, weight])
    metrics = {name: a / b if b else 0.0 for name, (a, b) in ranks.sum_named(sums).items()}
    return Evaluation(total / weight if weight else math.nan, weight, metrics)
