"""The loss of 200 steps of a masked model and of an encoder-decoder, here and in transformers, on the same batches.

    python benchmarks/pretraining_equal.py TEXT [--steps 200] [--json FILE]

Both begin with the same weights, as a checkpoint that transformers reads, and learn with torch's AdamW at the same rates, on the
same hidden tokens and spans; there padded rows, here rows end to end. Written: the loss of each step, and how far they are apart.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

import machine
from openbook.lm.families.base import Family
from openbook.lm.load import save_model
from openbook.training.begin import open_model, open_tokenizer
from openbook.training.loop import Loop, Pace
from openbook.training.optimizer import Optimization
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, recipe_of
from openbook.training.tasks.open import open_task

RATE, WARMUP, NORM = 3e-4, 20, 1.0
CLASSES = {"masked": transformers.BertForMaskedLM, "spans": transformers.T5ForConditionalGeneration}
FAMILIES = {"masked": "bert", "spans": "t5"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    default = Path(__file__).parent / "results" / "pretraining_equal.json"
    parser.add_argument("--json", type=Path, default=default)
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine.describe(), "steps": options.steps}
    for objective in CLASSES:
        with tempfile.TemporaryDirectory() as folder:
            report[objective] = compared(objective, options.text, options.steps, Path(folder))
        print(objective, {name: value for name, value in report[objective].items() if name != "losses"}, flush=True)
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def compared(objective: str, text: Path, steps: int, folder: Path) -> dict[str, Any]:
    recipe = recipe_for(objective, text, steps, folder)
    begun = open_model(recipe, open_tokenizer(recipe))
    save_model(begun.model, folder / "first")
    ours = learned_here(recipe, begun.model, open_task(recipe, begun, Ranks()), steps)
    theirs = learned_there(recipe, open_task(recipe, begun, Ranks()), steps, folder / "first", begun.model)
    apart = [abs(a - b) / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "first": [ours[0], theirs[0]],
        "last": [ours[-1], theirs[-1]],
        "largest_difference": max(apart),
        "losses": [[round(a, 6), round(b, 6)] for a, b in zip(ours, theirs, strict=True)],
    }


def recipe_for(objective: str, text: Path, steps: int, folder: Path) -> Recipe:
    """The recipes for tiny models, without dropout, on a copy of the text that is not packed."""
    plain = folder / "text.txt"
    plain.write_bytes(gzip.decompress(text.read_bytes()) if text.suffix == ".gz" else text.read_bytes())
    shape = {
        "masked": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        "spans": {"dropout_rate": 0.0},
    }
    return recipe_of(
        {
            "objective": objective,
            "model": {
                "family": FAMILIES[objective],
                "size": "1m",
                "tokenizer": "characters",
                "shape": shape[objective],
            },
            "data": {"train": str(plain), "layout": "windows"},
            "steps": steps,
            "batch_size": 8,
            "max_seq_len": 64,
            "seed": 1337,
            "out": str(folder / "run"),
        }
    )


def learned_here(recipe: Recipe, model: Family, task: Any, steps: int) -> list[float]:
    settings = Optimization(lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    loop = Loop(model, task.source, task.objective, settings, Pace(steps, "constant", WARMUP, max_norm=NORM))
    return [step.loss for step in loop.steps()]


def learned_there(recipe: Recipe, task: Any, steps: int, first: Path, model: Family) -> list[float]:
    """The plain loop of a user of transformers."""
    theirs: Any = CLASSES[recipe.objective].from_pretrained(first).train()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    losses = []
    for step in range(steps):
        (micro,) = task.source.next_step()
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / (WARMUP + 1), 1.0)
        loss = theirs(**padded(recipe.objective, micro)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def padded(objective: str, micro: Any) -> dict[str, torch.Tensor]:
    """The micro-batch as transformers takes it."""
    ids = pad_sequence(micro.ids.split(micro.lengths), batch_first=True)
    mask = pad_sequence([torch.ones(length) for length in micro.lengths], batch_first=True)
    if objective == "spans":
        labels = micro.targets.split(micro.target_lengths)
    else:
        marks = torch.full((len(micro.ids),), -100)
        marks[micro.rows] = micro.targets
        labels = marks.split(micro.lengths)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": pad_sequence(list(labels), batch_first=True, padding_value=-100),
    }


if __name__ == "__main__":
    main()
