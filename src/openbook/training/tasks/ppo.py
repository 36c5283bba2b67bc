"""Answers that the model writes itself, learned by how much better they are than a critic expected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from openbook.core.errors import UsageError
from openbook.lm.adapters.slot import find_table
from openbook.lm.heads import load_with_score
from openbook.lm.local import model_directory
from openbook.training.begin import Begun, os_path
from openbook.training.compiling import checkpoint_layers
from openbook.training.critic import Critic, SeparateCritic, SharedCritic
from openbook.training.estimates import Estimates, Estimation
from openbook.training.kl_control import KlControl
from openbook.training.objectives.ppo import ProximalPolicy
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rollouts.groups import frozen_copy
from openbook.training.rollouts.samples import SampleLog
from openbook.training.sources.experience import Experience
from openbook.training.sources.rollouts import RolloutSource
from openbook.training.tasks.rolled import check_rolling, evaluated, open_rolling, source_of
from openbook.training.tasks.task import Task


def ppo_task(recipe: Recipe, begun: Begun, ranks: Ranks) -> Task:
    """UsageError for a critic that reads other tokens."""
    part, roll = recipe.ppo, recipe.rollout
    check_rolling(recipe, begun)
    critic, note = open_critic(recipe, begun)
    rolling = open_rolling(recipe, begun, ranks)  # last: it starts processes
    rolling = replace(rolling, schedule=replace(rolling.schedule, most_kl=part.max_kl))
    learner = Estimates(
        begun.model,
        critic,
        None if find_table(begun.model) is not None else frozen_copy(begun.model),
        KlControl(part.beta, part.kl_target, part.kl_horizon),
        Estimation(part.gamma, part.lam, part.whiten_rewards, part.missing_eos_penalty),
        temperature=roll.temperature,
        precision=recipe.precision,
        ranks=ranks,
    )
    samples = SampleLog(Path(recipe.out), roll.samples)
    source: RolloutSource[Experience] = source_of(recipe, begun, ranks, rolling, learner, samples)
    objective = ProximalPolicy(
        critic,
        part.knobs,
        value_clip=part.value_clip,
        value_weight=part.value_weight,
        temperature=roll.temperature,
        importance=roll.chosen_importance,
    )

    return Task(
        source,
        objective,
        partial(evaluated, recipe, rolling, source),
        len(rolling.prompts) * roll.completions * roll.epochs,
        begins_at_guess=False,
        notes=(*rolling.notes(), note),
        beside=critic,
        begin=samples.begin,
        is_held_out=rolling.held_out is not None,
        close=rolling.close,
    )


def open_critic(recipe: Recipe, begun: Begun) -> tuple[Critic, str]:
    """It, trained whole, and what to know about it. UsageError where it reads other tokens than the policy."""
    part = recipe.ppo
    if part.critic == "shared":
        return SharedCritic(begun.model.config.hidden_size), "critic: a head over the policy's hidden rows, 0 at first"
    name = part.critic_path or recipe.model.path
    assert name is not None, "fresh models were refused"
    model, fresh = load_with_score(model_directory(os_path(name)), torch.float32, recipe.seed)
    rows, wanted = model.config.vocab_size, begun.model.config.vocab_size
    if rows != wanted:
        raise UsageError(
            f"the critic has a table of {rows:,} tokens, the policy of {wanted:,}",
            "give one with the policy's tokenizer in ppo.critic_path",
        )
    if recipe.gradient_checkpointing:
        checkpoint_layers(model)
    size = sum(one.numel() for one in model.parameters())
    how = "its head 0 at first" if fresh else "with the head of a reward model"
    return SeparateCritic(model.requires_grad_(True)), f"critic: a model of its own, {size:,} parameters, {how}"
