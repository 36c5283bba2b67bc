"""Preferences that can be learned in seconds, and the models that learn them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from openbook.lm.load import new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.recipe import Recipe, recipe_of
from small_runs import SHAPE

WORDS = "tin oak sun fig ice elm jam owl ivy ash".split()


def save_base(folder: Path, **shape: Any) -> Path:
    """A decoder of random weights whose tokenizer has a chat template."""
    tokenizer = default_tokenizer(400)
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    config = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 256} | special
    save_model(new_model(config | SHAPE | shape, seed=3), folder)
    tokenizer.save(folder)
    return folder


def pairs(count: int = 64, seed: int = 0) -> list[dict[str, Any]]:
    """The better answer says "yes", whatever else stands in it."""
    draw = Random(seed)
    found = []
    for _ in range(count):
        word, more = draw.sample(WORDS, 2)
        found.append({"prompt": f"{word}?", "chosen": f"yes {more}", "rejected": f"no {more}"})
    return found


def liked(count: int = 64, seed: int = 0) -> list[dict[str, Any]]:
    """One answer of each pair, by turns the better and the worse one."""
    found = []
    for place, one in enumerate(pairs(count, seed)):
        side = "rejected" if place % 2 else "chosen"
        found.append({"prompt": one["prompt"], "completion": one[side], "label": side == "chosen"})
    return found


def solutions(count: int = 48, seed: int = 0) -> list[dict[str, Any]]:
    """Steps that are right where they say yes."""
    draw = Random(seed)
    found = []
    for _ in range(count):
        labels = [draw.random() < 0.5 for _ in range(draw.randint(1, 4))]
        steps = [f"{'yes' if one else 'no'} {draw.choice(WORDS)}" for one in labels]
        found.append({"prompt": f"{draw.choice(WORDS)}?", "steps": steps, "labels": labels})
    return found


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def recipe(folder: Path, objective: str, rows: Sequence[dict[str, Any]] | None = None, **changes: Any) -> Recipe:
    """A change of None takes a key out."""
    base = folder / "base"
    if not base.is_dir():
        save_base(base)
    data = written(folder / "rows.jsonl", pairs() if rows is None else rows)
    values: dict[str, Any] = {
        "objective": objective,
        "model": {"path": str(base)},
        "data": {"train": str(data), "eval_share": 0.25},
        "forgetting": False,
        "steps": 8,
        "batch_size": 8,
        "max_seq_len": 64,
        "lr": 1e-3,
        "weight_decay": 0.0,
        "warmup": 2,
        "eval_every": 4,
        "save_every": 4,
        "seed": 5,
        "out": str(folder / "run"),
    } | changes
    return recipe_of({name: value for name, value in values.items() if value is not None})
