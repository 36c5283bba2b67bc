"""Answers that the model writes itself, learned by how much better they are than others to the same prompt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from openbook.core.errors import UsageError
from openbook.lm.adapters.slot import find_table
from openbook.training.begin import Begun
from openbook.training.objectives.policy import PolicyGradient
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rollouts.groups import GroupLearner, frozen_copy
from openbook.training.rollouts.samples import SampleLog
from openbook.training.sources.rollouts import Judged, Rollouts, RolloutSource
from openbook.training.tasks.rolled import open_rolling
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
    source: RolloutSource[Rollouts] = RolloutSource(
        rolling.prompts.prompts,
        rolling.roller,
        learner,
        rolling.schedule,
        ranks,
        seed=recipe.seed,
        limits=roll.limits,
        samples=samples,
        vocab_size=begun.model.config.vocab_size,
        leaves_out_truncated=roll.truncated == "leave out",
    )
    objective = PolicyGradient(
        part.knobs, temperature=roll.temperature, max_tokens=roll.max_tokens, importance=roll.chosen_importance
    )

    def held_out() -> Iterator[Judged]:
        if rolling.held_out is not None:
            yield from source.evaluated(
                rolling.judge, rolling.held_out.prompts, roll.eval_completions, recipe.data.eval_rows
            )

    per_epoch = len(rolling.prompts) * roll.completions * roll.epochs
    notes = tuple(rolling.notes())
    return Task(
        source,
        objective,
        held_out,
        per_epoch,
        begins_at_guess=False,
        notes=notes,
        begin=samples.begin,
        is_held_out=rolling.held_out is not None,
        close=rolling.close,
    )
