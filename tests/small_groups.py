"""Groups whose positive can be known, and a BERT that is small enough to learn them in a test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tiny_bert
from openbook.training.data.groups import Group
from openbook.training.recipe import Recipe, recipe_of

NOUNS = "cat dog mat days annual people leave time word use".split()


def groups(count: int = 40, negatives: int = 4, seed: int = 0) -> list[Group]:
    """The positive speaks of what the query asks for, the negatives of other things."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        wanted, *others = draw.permutation(NOUNS)[: negatives + 1].tolist()
        negative = tuple(_said(one, draw) for one in others)
        found.append(Group(f"what is the {wanted}", _said(wanted, draw), negative, f"title {number}"))
    return found


def _said(noun: str, draw: np.random.Generator) -> str:
    words = draw.choice("of and to in that for was on are".split(), int(draw.integers(2, 6))).tolist()
    return f"the {noun} is {' '.join(words)}"


def written(path: Path, rows: Sequence[Group]) -> Path:
    path.write_text("".join(json.dumps(one._asdict()) + "\n" for one in rows), "utf-8")
    return path


def base(folder: Path) -> Path:
    """A BERT whose words are those of the groups; its tokenizer reads special tokens where they belong."""
    words = [*tiny_bert.WORDS, "word", "use"]
    path = tiny_bert.write(folder / "base", _wider(tiny_bert.weights()), vocab_size=len(words))
    (path / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    return path


def _wider(arrays: tiny_bert.Arrays) -> tiny_bert.Arrays:
    """Rows for the words that `base` adds; vectors as small as trained ones."""
    table = "embeddings.word_embeddings.weight"
    more = np.random.default_rng(1).normal(0, 1, (2, tiny_bert.E)).astype(np.float32)
    return arrays | {table: np.concatenate([arrays[table], more])}


def recipe(folder: Path, objective: str, **changes: Any) -> Recipe:
    """A change of None takes a key out."""
    values: dict[str, Any] = {
        "objective": objective,
        "model": {"path": str(base(folder))},
        "data": {"train": str(written(folder / "groups.jsonl", groups(200))), "eval_share": 0.2},
        "steps": 12,
        "batch_size": 8,
        "max_seq_len": 24,
        "lr": 1e-3,
        "weight_decay": 0.0,
        "warmup": 2,
        "eval_every": 4,
        "save_every": 3,
        "seed": 5,
        "out": str(folder / "run"),
    } | changes
    return recipe_of({name: value for name, value in values.items() if value is not None})
