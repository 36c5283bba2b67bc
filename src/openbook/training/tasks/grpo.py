"""Answers that the model writes itself, learned by how much better they are than others to the same prompt."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.lm.adapters.slot import find_table
from openbook.training.begin import Begun
from openbook.training.objectives.policy import PolicyGradient
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rollouts.groups import GroupLearner, frozen_copy
from openbook.training.rollouts.samples import SampleLog
from openbook.training.sources.rollouts import Rollouts, RolloutSource
from openbook.training.tasks.rolled import evaluated, open_rolling, source_of
from openbook.training.tasks.task import Task


def grpo_task(recipe: Recipe, begun: Begun, ranks: Ranks) -> Task:
    """UsageError for a group of one where groups are compared."""
    part, roll = recipe.grpo, recipe.rollout
    if roll.completions < 2 and part.chosen_baseline != "reinforce++":
        raise UsageError("a completion is compared with others of its prompt", "raise rollout.completions")
    rolling = open_rolling(recipe, begun, ranks, part.most_redraws)
    reference = None
    if part.knobs.beta:
        reference = begun.model if find_table(begun.model) is not None else frozen_copy(begun.model)
    learner = GroupLearner(
        begun.model,
        part.chosen_baseline,
        ranks,
        temperature=roll.temperature,
        precision=recipe.precision,
        needs_old=roll.steps > 1,
        reference=reference,
    )
    samples = SampleLog(Path(recipe.out), roll.samples)
    source: RolloutSource[Rollouts] = source_of(recipe, begun, ranks, rolling, learner, samples)
    objective = PolicyGradient(
        part.knobs, temperature=roll.temperature, max_tokens=roll.max_tokens, importance=roll.chosen_importance
    )

    per_epoch = len(rolling.prompts) * roll.completions * roll.epochs
    notes = tuple(rolling.notes())
    return Task(
        source,
        objective,
        partial(evaluated, recipe, rolling, source),
        per_epoch,
        begins_at_guess=False,
        notes=notes,
        begin=samples.begin,
        is_held_out=rolling.held_out is not None,
        close=rolling.close,
    )
