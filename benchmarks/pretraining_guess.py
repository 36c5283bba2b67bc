"""What knowing only how often each token is hidden comes to: the figures that a masked model and an encoder-decoder must beat.

    python benchmarks/pretraining_guess.py RECIPE.yaml ... [--steps 400] [--json FILE] [key.path=value ...]

Frequencies are those of the targets of the first steps of the recipe, with 1 added to each; loss and accuracy those of the
targets that the recipe is evaluated on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from openbook.training.begin import open_model, open_tokenizer
from openbook.training.parallel import Ranks
from openbook.training.recipe import read_recipe
from openbook.training.tasks.open import open_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--steps", type=int, default=400)
    default = Path(__file__).parent / "results" / "pretraining_guess.json"
    parser.add_argument("--json", type=Path, default=default)
    options = parser.parse_args()
    overrides = [one for one in options.recipes if "=" in one]
    report = {
        Path(one).stem: guess(Path(one), options.steps, overrides) for one in options.recipes if one not in overrides
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report, indent=1))


def guess(path: Path, steps: int, overrides: list[str]) -> dict[str, Any]:
    """Nats a token, and the share of the most frequent one."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = read_recipe(path, [*overrides, f"out={folder}"])
        begun = open_model(recipe, open_tokenizer(recipe))
        task = open_task(recipe, begun, Ranks())
        counts = torch.ones(begun.tokenizer.vocab_size)
        for _ in range(steps):
            for micro in task.source.next_step():
                counts += torch.bincount(micro.targets, minlength=len(counts))
        held_out = torch.cat([micro.targets for micro in task.held_out()])
    nats = -(counts / counts.sum()).log()[held_out].mean()
    likeliest = counts.argmax()
    return {
        "loss": round(float(nats), 4),
        "accuracy": round(float((held_out == likeliest).float().mean()), 4),
        "likeliest": begun.tokenizer.token_of(int(likeliest)),
        "held_out_targets": len(held_out),
    }


if __name__ == "__main__":
    main()
