"""What each objective of a recipe learns from: a source of steps, what it is evaluated on, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from openbook.core.progress import Progress, silent
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.begin import Begun
from openbook.training.objectives.next_token import NextToken
from openbook.training.objectives.objective import Objective
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rows import open_rows
from openbook.training.sources.step import Source


@dataclass(frozen=True)
class Task:
    """`held_out`: this rank's micro-batches of an evaluation. `per_epoch`: rows of an epoch, about. `begins_at_guess`: a fresh
    model's loss is ln V. `is_fixed`: all forward passes have the same shape. `notes`: what to know about the data.
    """

    source: Source[Any]
    objective: Objective[Any]
    held_out: Callable[[], Iterator[Any]]
    per_epoch: int
    begins_at_guess: bool = True
    is_fixed: bool = False
    notes: tuple[str, ...] = ()


def open_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress = silent) -> Task:
    """Reads, and tokenises what is not yet tokenised. BadData where there is too little to learn from."""
    match recipe.objective:
        case "next_token":
            return _next_token(recipe, begun.tokenizer, ranks, progress)


def _next_token(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    rows = open_rows(recipe, tokenizer, ranks, progress)
    tokens = f"{rows.train.num_tokens:,} tokens to learn from"
    held = f", {rows.held_out.num_tokens:,} held out" if rows.held_out is not None else ""
    return Task(
        rows.source,
        NextToken(),
        lambda: rows.evaluated(recipe.max_seq_len, recipe.data.eval_rows, ranks),
        rows.per_epoch,
        is_fixed=rows.layout == "windows",
        notes=(f"{tokens}{held}, as {rows.layout}",),
    )
