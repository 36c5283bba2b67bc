"""Questions whose answers can be found by a rule, and a BERT that is small enough to learn them in a test."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import small_groups
from openbook.training.recipe import Recipe, recipe_of

NAMES = "cat dog mat days people time word use".split()
FILL = "of and to in that for on are".split()


def article(title: str, seed: int, paragraphs: int = 6) -> dict[str, Any]:
    """Each paragraph says of some names what follows "is"; a question asks for one."""
    random = Random(seed)
    said = []
    for number in range(paragraphs):
        names = random.sample(NAMES, 4)
        sentences = [
            f"The {name} is {' '.join(random.choices(FILL, k=2))} {random.choice(FILL)}." for name in names[:3]
        ]
        context = " ".join(sentences)
        name = random.choice(names[:3])
        begin = context.index(f"The {name} is") + len(f"The {name} is ")
        end = context.index(".", begin)
        answer = {"text": context[begin:end], "answer_start": begin}
        asked = {"id": f"{title} {number}", "question": f"What is the {name}?", "answers": [answer]}
        said.append({"context": context, "qas": [asked]})
    return {"title": title, "paragraphs": said}


def written(path: Path, articles: int = 30, seed: int = 0, name: str = "article") -> Path:
    data = [article(f"{name} {number}", seed * 1_000 + number) for number in range(articles)]
    path.write_text(json.dumps({"version": "1.1", "data": data}), "utf-8")
    return path


def recipe(folder: Path, **changes: Any) -> Recipe:
    """A change of None takes a key out."""
    values: dict[str, Any] = {
        "objective": "reader",
        "model": {"path": str(small_groups.base(folder))},
        "data": {"train": str(written(folder / "train.json")), "eval_share": 0.2},
        "steps": 12,
        "batch_size": 8,
        "max_seq_len": 40,
        "reader": {"stride": 8},
        "lr": 1e-3,
        "weight_decay": 0.0,
        "warmup": 2,
        "eval_every": 4,
        "save_every": 3,
        "seed": 5,
        "out": str(folder / "run"),
    } | changes
    return recipe_of({name: value for name, value in values.items() if value is not None})
