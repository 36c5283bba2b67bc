"""The task of each objective that a recipe can name."""

from __future__ import annotations

from openbook.core.errors import UsageError
from openbook.core.progress import Progress, silent
from openbook.training.begin import Begun
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.tasks.classifier import classifier_task
from openbook.training.tasks.contrastive import contrastive_task
from openbook.training.tasks.masked import masked_task
from openbook.training.tasks.next_sentence import next_sentence_task
from openbook.training.tasks.next_token import next_token_task
from openbook.training.tasks.preference import preference_task
from openbook.training.tasks.reader import reader_task
from openbook.training.tasks.rerank import rerank_task
from openbook.training.tasks.reward import reward_task
from openbook.training.tasks.spans import spans_task
from openbook.training.tasks.task import Task


def open_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress = silent) -> Task:
    """Reads, and tokenises what is not yet tokenised. BadData where there is too little to learn from, UsageError for a mixture
    where the objective has none.
    """
    if recipe.objective != "next_token" and (recipe.data.weights or recipe.data.replay):
        raise UsageError(
            f"objective {recipe.objective} does not mix data",
            "leave out data.weights and data.replay, or put the files together",
        )
    match recipe.objective:
        case "next_token":
            return next_token_task(recipe, begun.tokenizer, ranks, progress)
        case "masked":
            return masked_task(recipe, begun.tokenizer, ranks, progress)
        case "spans":
            return spans_task(recipe, begun, ranks, progress)
        case "contrastive":
            return contrastive_task(recipe, begun, ranks, progress)
        case "rerank":
            return rerank_task(recipe, begun.tokenizer, ranks, progress)
        case "reader":
            return reader_task(recipe, begun.tokenizer, ranks, progress)
        case "next_sentence":
            return next_sentence_task(recipe, begun.tokenizer, ranks, progress)
        case "classifier":
            return classifier_task(recipe, begun.tokenizer, ranks, progress)
        case "reward":
            return reward_task(recipe, begun, ranks, progress)
        case "preference":
            return preference_task(recipe, begun, ranks, progress)
        case "distill":
            from openbook.training.tasks.distill import distill_task

            return distill_task(recipe, begun, ranks, progress)
        case "grpo":
            from openbook.training.tasks.grpo import grpo_task

            return grpo_task(recipe, begun, ranks)
        case "ppo":
            from openbook.training.tasks.ppo import ppo_task

            return ppo_task(recipe, begun, ranks)
