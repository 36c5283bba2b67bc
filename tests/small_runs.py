"""Small runs for tests: a text in which the next character can be known, and a recipe that a second is enough for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openbook.training.recipe import Recipe, recipe_of

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
}


def text_file(folder: Path) -> Path:
    """Counting, in words that repeat."""
    words = "one two three four five six seven eight nine ten".split()
    path = folder / "text.txt"
    path.write_text("".join(f"{words[n % 10]} and {words[n * 7 % 10]}.\n" for n in range(400)), "utf-8")
    return path


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """The recipe's values; a change of None takes a key out."""
    found: dict[str, Any] = {
        "model": {"size": "1m", "tokenizer": "characters", "shape": SHAPE},
        "data": {"train": str(text_file(folder)), "eval_share": 0.1, "layout": "windows"},
        "steps": 12,
        "batch_size": 4,
        "max_seq_len": 16,
        "lr": 3e-3,
        "warmup": 2,
        "eval_every": 4,
        "save_every": 3,
        "seed": 5,
        "out": str(folder / "run"),
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def recipe(folder: Path, **changes: Any) -> Recipe:
    return recipe_of(values(folder, **changes))
