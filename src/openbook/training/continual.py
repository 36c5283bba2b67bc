"""What a recipe says against forgetting, made ready: layers that are frozen, and the penalty of EWC and L2-SP."""

from __future__ import annotations

from openbook.core.errors import UsageError
from openbook.core.progress import Progress, silent
from openbook.training.begin import Begun
from openbook.training.data.reading import data_files
from openbook.training.objectives.continual import Penalty
from openbook.training.objectives.continual_fisher import importance
from openbook.training.objectives.continual_freeze import freeze
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.recipe_parts import DataPart, EwcPart
from openbook.training.tasks.open import open_task


def frozen(recipe: Recipe, begun: Begun) -> Begun:
    """With `continual.freeze` done. UsageError for what is no part of the model."""
    if not recipe.continual.freeze:
        return begun
    left = freeze(begun.model, recipe.continual.freeze)
    return begun._replace(trainable=left, notes=(*begun.notes, f"frozen: {left}"))


def open_penalty(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress = silent) -> Penalty | None:
    """What holds the weights where they are now; None where nothing does. UsageError where EWC cannot be."""
    part = recipe.continual
    if part.ewc is None:
        return Penalty(begun.model, part.l2sp) if part.l2sp else None
    if recipe.parallel == "fsdp":
        raise UsageError("continual.ewc needs the gradient of each row whole", "use parallel=ddp, or continual.l2sp")
    older = _older(recipe, part.ewc, ranks)
    task = open_task(older, begun, ranks, progress)
    rows = min(part.ewc.samples, task.per_epoch)
    found = importance(begun.model, task.objective, task.source, rows, ranks)
    return Penalty(begun.model, part.l2sp, part.ewc.weight, found)


def _older(recipe: Recipe, ewc: EwcPart, ranks: Ranks) -> Recipe:
    """The same recipe on the older data, a single sample or window at a time."""
    files = data_files(data_paths(ewc.data), recipe.data.format)
    layout = "windows" if all(file.form == "text" for file in files) else "single"
    cache = recipe.data.cache or f"{recipe.out}/data"
    own = DataPart.model_validate({"train": ewc.data, "layout": layout, "cache": cache, "format": recipe.data.format})
    return recipe.model_copy(update={"data": own, "batch_size": ranks.world_size, "micro_batch_size": 1})
