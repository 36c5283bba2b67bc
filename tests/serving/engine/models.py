"""Tiny decoders of every kind for the engine's tests, and what must hold of an engine after every step."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from lm.checkpoints import TINY
from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.serving.engine.core import EngineCore

KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"model_type": "mistral", "sliding_window": 7},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def model_of(seed: int = 3, **changes: Any) -> Family:
    """Weights so large that the likeliest token is no matter of rounding."""
    said = changes if changes.get("model_type") == "gpt2" else TINY | changes
    model = new_model({"vocab_size": 300} | said, seed=seed).requires_grad_(False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "tokens" not in name and "positions" not in name:
                parameter *= 6
    return model


@cache
def model(kind: str) -> Family:
    return model_of(**KINDS[kind])


def check_blocks(engine: EngineCore) -> None:
    """in use + cached + free = all, and references are those of the tables."""
    blocks = engine.blocks
    assert blocks.num_free + blocks.num_cached + blocks.num_in_use == blocks.num_blocks
    counted = [0] * blocks.num_blocks
    for name in engine.adapters.names:
        for block in engine.adapters.of(name).blocks:
            counted[block] += 1
    for sequence in engine.scheduler.running:
        for block in sequence.block_table:
            counted[block] += 1
    assert counted == blocks._references
    assert sum(1 for count in counted if count) == blocks.num_in_use


def finish(engine: EngineCore) -> dict[tuple[int, int], list[int]]:
    """Steps to the end; the tokens of each answer of each request."""
    found: dict[tuple[int, int], list[int]] = {}
    steps = 0
    while not engine.is_idle:
        for event in engine.step():
            tokens = found.setdefault((event.number, event.answer), [])
            if not event.is_end:
                tokens.append(event.chosen.token)
        check_blocks(engine)
        steps += 1
        assert steps < 5_000, "the schedule does not come to an end"
    return found
