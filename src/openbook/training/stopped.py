"""What is told about a run that had to stop: what the step read, and which settings fit into memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch

from openbook.core.paths import replacing
from openbook.lm.families.base import Family
from openbook.lm.room import available_bytes
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.estimate import largest_that_fits
from openbook.training.recipe import Recipe


def dump_micros(run: Path, step: int, micros: Sequence[Any], tokenizer: Tokenizer, rank: int = 0) -> Path:
    """Everything that the micro-batches of a step hold, as JSON, with their text where they have `ids` and `lengths`."""
    path = run / (f"stopped-step-{step:08d}.json" if rank == 0 else f"stopped-step-{step:08d}-rank-{rank}.json")
    with replacing(path) as file:
        file.write(json.dumps([_plain(one, tokenizer) for one in micros], ensure_ascii=False, indent=1).encode())
    return path


def is_memory_error(error: BaseException) -> bool:
    """Whether torch or Python could not get memory."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in said


def memory_remedy(recipe: Recipe, model: Family) -> str:
    """The settings that take less, and sizes that fit into what is there now."""
    knobs = (
        "lower micro_batch_size or max_seq_len, or set gradient_checkpointing=true, optimizer=adamw8bit or an adapter"
    )
    there = available_bytes()
    fits = largest_that_fits(recipe, model, there) if there is not None else None
    if fits is None:
        return knobs
    return f"micro_batch_size={fits} would fit by the estimate; {knobs}" if fits else f"not even one row fits: {knobs}"


def _plain(value: Any, tokenizer: Tokenizer) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if is_dataclass(value):
        found = {one.name: _plain(getattr(value, one.name), tokenizer) for one in fields(value)}
        if isinstance(found.get("ids"), list) and isinstance(found.get("lengths"), list):
            found["texts"] = list(_texts(found["ids"], found["lengths"], tokenizer))
        return found
    if isinstance(value, list | tuple):
        return [_plain(one, tokenizer) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _texts(ids: list[int], lengths: list[int], tokenizer: Tokenizer) -> Any:
    begin = 0
    for length in lengths:
        yield tokenizer.decode(one for one in ids[begin : begin + length] if one < tokenizer.vocab_size)
        begin += length
