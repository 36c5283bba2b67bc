"""What the tasks over drawn samples share: a source of them, and those that are only evaluated on."""

from __future__ import annotations

import math
from functools import partial
from typing import TypeVar

from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.sources.drawn import Draw, DrawnSource, Make, evaluated_drawn
from openbook.training.tasks.task import Task

S = TypeVar("S")
M = TypeVar("M")


def drawn_task(
    recipe: Recipe,
    ranks: Ranks,
    train: tuple[Draw[S], int],
    held_out: tuple[Draw[S], int],
    make: Make[S, M],
    objective: Objective[M],
    note: str,
) -> Task:
    """`train`, `held_out`: how a sample is drawn, and how many there are."""
    micro = recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size)
    (draw, count), (draw_held, held) = train, held_out
    rank, world_size = ranks.rank, ranks.world_size
    source = DrawnSource(
        draw,
        count,
        make,
        batch_size=recipe.batch_size,
        micro_batch_size=micro,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
    )
    most = recipe.data.eval_rows
    shown = partial(evaluated_drawn, draw_held, held, make, micro, most=most, rank=rank, world_size=world_size)
    return Task(source, objective, shown, count, begins_at_guess=False, notes=(note,))
