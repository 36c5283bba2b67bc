"""What the tasks over drawn samples share: a source of them, and those that are only evaluated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.sources.drawn import Draw, DrawnSource, Make, evaluated_drawn
from openbook.training.tasks.task import Task

S = TypeVar("S")
M = TypeVar("M")
EVAL_SAMPLES = 32
"""Of a forward pass without gradients."""


@dataclass(frozen=True)
class Drawn(Generic[S, M]):
    """How a sample is drawn, how many there are, and how some of them become a micro-batch."""

    draw: Draw[S]
    count: int
    make: Make[S, M]


def numbered(make: Callable[[Sequence[int]], M], count: int) -> Drawn[int, M]:
    """Samples that are known by their numbers: nothing is drawn."""
    return Drawn(_number, count, make)


def drawn_task(
    recipe: Recipe,
    ranks: Ranks,
    both: Sequence[Drawn[S, M]],
    objective: Objective[M],
    notes: tuple[str, ...],
) -> Task:
    """`both`: what is learned from and, where something is, what is held out."""
    learned, *held = both
    rank, world_size = ranks.rank, ranks.world_size
    source = DrawnSource(
        learned.draw,
        learned.count,
        learned.make,
        batch_size=recipe.batch_size,
        micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / world_size),
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
    )

    def held_out() -> Iterator[M]:
        most = recipe.data.eval_rows
        for one in held:
            yield from evaluated_drawn(
                one.draw, one.count, one.make, EVAL_SAMPLES, most=most, rank=rank, world_size=world_size
            )

    return Task(source, objective, held_out, learned.count, begins_at_guess=False, notes=notes)


def _number(_: int, number: int) -> int:
    return number
