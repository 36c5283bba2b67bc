"""What a step takes of memory, before it is taken: by `lm.memory`, with the loss that is trained with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from openbook.lm.families.base import Family, Head
from openbook.lm.load import empty_model
from openbook.lm.memory import Memory, training_memory
from openbook.training.adamw8bit import BLOCK
from openbook.training.loss import cross_entropy_sum
from openbook.training.parallel import is_sharded
from openbook.training.recipe import Recipe

_RUNTIME_BYTES = 400 * 2**20
"""Of Python, torch and its kernels; measured."""


def estimate(recipe: Recipe, model: Family, rows: int) -> Memory:
    """Of a step whose forward passes read `rows` rows of `max_seq_len` tokens.

    With gradient checkpointing the inputs of all layers are kept, and one layer at a time is whole. Products in 16 bits keep less
    than is said here. Of a model that is spread over processes: what one with the whole would take.
    """
    model = empty_model(model.raw_config(), "the model that is trained") if is_sharded(model) else model
    context, rows = recipe.max_seq_len, rows * sequences_of_row(recipe)
    counted = torch.zeros(context * rows, dtype=torch.int64)
    head: Head | None = partial(cross_entropy_sum, targets=counted) if model.head_over == "tokens" else None
    found = training_memory(model, context, rows, head)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    activations = found.activations
    if recipe.gradient_checkpointing:
        layers = max(int(getattr(model.config, "num_layers", 1)), 1)
        width = int(getattr(model.config, "hidden_size", 0)) * model.dtype.itemsize
        activations = layers * context * rows * width + activations // layers
    moments = {
        "adamw": found.optimizer,
        "adamw8bit": round(trained * (2 + 8 / BLOCK)),
        "muon": trained * 4,
    }[recipe.optimizer]
    average = 4 * trained if recipe.ema is not None else 0
    return replace(found, activations=activations, optimizer=moments + average)


def sequences_of_row(recipe: Recipe) -> int:
    """How many sequences, at most, are one row of a batch."""
    match recipe.objective:
        case "rerank":
            return 1 + recipe.rerank.negatives + recipe.rerank.strangers
        case "contrastive":
            return 2 + recipe.contrastive.negatives
        case "next_sentence":
            return 2 + recipe.next_sentence.others + (recipe.next_sentence.strangers > 0)
        case "reward" | "preference":
            return 1 if recipe.preference.loss == "kto" else 2
        case _:
            return 1


def largest_that_fits(recipe: Recipe, model: Family, available_bytes: int) -> int | None:
    """Rows of a forward pass that fit beside the model, which is there already; None where nothing can be said."""
    try:
        one, two = (estimate(recipe, model, rows) for rows in (1, 2))
    except (RuntimeError, ValueError, TypeError):  # shapes that are computed only, of a model that was compiled
        return None
    a_row = max(two.activations - one.activations, 1)
    fixed = one.activations - a_row + one.gradients + one.optimizer + one.master
    return max((available_bytes - fixed) // a_row, 0)


def total_bytes(memory: Memory) -> int:
    """With the program itself."""
    return memory.total + _RUNTIME_BYTES
