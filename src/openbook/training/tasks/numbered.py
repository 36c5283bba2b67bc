"""What the tasks over numbered samples share: the source of their steps, and those that are only evaluated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.sources.drawn import DrawnSource, evaluated_drawn
from openbook.training.tasks.task import Task

M = TypeVar("M")
Make = Callable[[Sequence[int]], M]
"""Numbers of samples -> a micro-batch of them."""
EVAL_SAMPLES = 32


def numbered_task(
    recipe: Recipe,
    ranks: Ranks,
    made: Sequence[tuple[Make[M], int]],
    objective: Objective[M],
    notes: tuple[str, ...],
) -> Task:
    """`made`: of the data that is learned, and of that held out, how a micro-batch is made and how many samples there are."""
    (make, count), *held = made
    source = DrawnSource(
        _number,
        count,
        make,
        batch_size=recipe.batch_size,
        micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
        seed=recipe.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )

    def held_out() -> Iterator[M]:
        most, rank, world_size = recipe.data.eval_rows, ranks.rank, ranks.world_size
        for make, count in held:
            yield from evaluated_drawn(_number, count, make, EVAL_SAMPLES, most=most, rank=rank, world_size=world_size)

    return Task(source, objective, held_out, count, begins_at_guess=False, notes=notes)


def _number(_: int, number: int) -> int:
    return number
