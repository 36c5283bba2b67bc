"""What the tasks over labels share: a source of samples that are drawn, and those that are only evaluated on."""

from __future__ import annotations

import math
from functools import partial

from openbook.training.objectives.labels import Labels
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.sources.labelled import Draw, LabelledSource, evaluated_labelled
from openbook.training.tasks.task import Task

Drawn = tuple[Draw, int]
"""How a sample is drawn, and how many there are."""


def labelled_task(recipe: Recipe, ranks: Ranks, train: Drawn, held_out: Drawn, note: str) -> Task:
    micro = recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size)
    rank, world_size = ranks.rank, ranks.world_size
    source = LabelledSource(
        *train,
        batch_size=recipe.batch_size,
        micro_batch_size=micro,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
    )
    most = recipe.data.eval_rows
    shown = partial(evaluated_labelled, *held_out, micro, most=most, rank=rank, world_size=world_size)
    return Task(source, Labels(), shown, train[1], begins_at_guess=False, notes=(note,))
