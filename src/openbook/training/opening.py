"""A recipe's numbers as the loop takes them, and each process's part of the model."""

from __future__ import annotations

from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.training.loop import Pace
from openbook.training.optimizer import Optimization
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe


def spread(recipe: Recipe, model: Family, ranks: Ranks) -> None:
    """Leaves this process its part of the model, where the recipe gives it one."""
    match recipe.way:
        case "fsdp":
            from openbook.training.parallel_fsdp import shard

            shard(model, ranks)
        case "tensor" if ranks.mesh is not None:
            from openbook.training.parallel_tensor import part

            part(model, ranks.mesh)
        case "pipeline" if ranks.mesh is not None:
            from openbook.training.parallel_pipeline import Pipeline

            ranks.pipeline = Pipeline(model, ranks.mesh, recipe.pipeline_schedule)


def optimization_of(recipe: Recipe) -> Optimization:
    return Optimization(recipe.optimizer, recipe.lr, recipe.betas, recipe.eps, recipe.weight_decay, recipe.muon_lr)


def pace_of(recipe: Recipe, steps: int) -> Pace:
    """Shares of the run as steps. UsageError where they are more than there are."""
    warmup, decay = (round(one * steps) if one < 1 else round(one) for one in (recipe.warmup, recipe.decay))
    if warmup > steps or decay > steps:
        raise UsageError(f"warmup {warmup} or decay {decay} is longer than the run of {steps} steps", "lower it")
    return Pace(steps, recipe.schedule, warmup, decay, recipe.least_rate, recipe.max_norm, recipe.precision)
