"""What the tasks over numbered samples share: the source of their steps, and those that are only evaluated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.sources.numbered import NumberedSource, micros_of
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
    source = NumberedSource(
        make,
        count,
        batch_size=recipe.batch_size,
        micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
        seed=recipe.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )

    def held_out() -> Iterator[M]:
        for make, count in held:
            numbers = range(count)[: recipe.data.eval_rows]
            yield from micros_of(numbers[ranks.rank :: ranks.world_size], make, EVAL_SAMPLES)

    return Task(source, objective, held_out, count, begins_at_guess=False, notes=notes)
