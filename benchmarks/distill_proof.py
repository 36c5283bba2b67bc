"""Knowledge of a teacher for a quarter of its size: losses on text that nobody has learned from, three seeds.

`OPENBOOK_DATA=DIR python benchmarks/distill_proof.py [--work DIR] [--seeds 3]`. Characters of Shakespeare (DIR/tinyshakespeare).
The teacher learns from the first 90 %; the student has a quarter of its parameters and learns from the first 40,000 characters
only, once from the text alone, once from the teacher too: the same weights at first, the same steps, the same batches, the same
rate. Held out: 20,000 characters of the last 10 %. Then, from the student of the text alone, as many steps again: on its text
without the teacher, on its text with the reverse divergence, and on what it writes itself to prompts of its text (jsd). The loss
is the plain cross-entropy in each case. Writes `results/distill_proof.json`; what is there already is kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from machine import describe

RESULTS = Path(__file__).resolve().parent / "results" / "distill_proof.json"
Row = dict[str, Any]
SMALL_TEXT, HELD_OUT = 40_000, 20_000
COMMON: Row = {
    "batch_size": 16,
    "max_seq_len": 64,
    "lr": 3e-3,
    "warmup": 20,
    "weight_decay": 0.0,
    "forgetting": False,
}
TEACHER_STEPS, STEPS = 500, 300
TAUGHT: Row = {"divergence": "forward", "weight": 0.5}
RUNS: dict[str, tuple[str, Row]] = {
    "text alone": ("fresh", {}),
    "forward": ("fresh", {"distill": TAUGHT}),
    "again, text alone": ("text alone", {}),
    "again, forward": ("text alone", {"distill": TAUGHT}),
    "again, reverse": ("text alone", {"distill": TAUGHT | {"divergence": "reverse"}}),
    "again, on policy": ("text alone", {"distill": {"divergence": "jsd", "weight": 1.0, "on_policy": 0.5}}),
}
"""What each begins with, and what it differs in."""


def shape(width: int) -> Row:
    sizes = {"hidden_size": width, "intermediate_size": width * 8 // 3, "head_dim": width // 4}
    return sizes | {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    work = chosen.work or Path(mkdtemp())
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"machine": describe(), "runs": {}}
    files = written(work)
    teacher = teacher_of(work, files)
    found["teacher"] = {"parameters": size_of(teacher), "steps": TEACHER_STEPS, "loss": held_out_loss(teacher.parent)}
    for name in RUNS:
        for seed in range(chosen.seeds):
            runs = found["runs"].setdefault(name, {})
            if str(seed) in runs:
                continue
            model = run(name, work, files, teacher, seed)
            runs[str(seed)] = {"loss": held_out_loss(model.parent), "last": last_step(model.parent)}
            found["student"] = {"parameters": size_of(model), "steps": STEPS}
            print(name, seed, runs[str(seed)], flush=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def written(work: Path) -> dict[str, str]:
    """The texts as files, and the student's as prompts that it is to go on with."""
    packed = (Path(os.environ["OPENBOOK_DATA"]) / "tinyshakespeare" / "input.txt.gz").read_bytes()
    text = gzip.decompress(packed).decode()
    cut = len(text) * 9 // 10
    small = text[:SMALL_TEXT]
    asked = [small[at : at + 64] for at in range(0, SMALL_TEXT - 64, 64)]
    rows = "".join(json.dumps({"prompt": one[:32], "completion": one[32:]}) + "\n" for one in asked)
    work.mkdir(parents=True, exist_ok=True)
    said = {"all.txt": text[:cut], "small.txt": small, "small.jsonl": rows, "held.txt": text[cut : cut + HELD_OUT]}
    for name, content in said.items():
        (work / name).write_text(content, "utf-8")
    return {name: str(work / name) for name in said}


def teacher_of(work: Path, files: dict[str, str]) -> Path:
    out = work / "teacher"
    if not (out / "model").is_dir():
        model = {"size": "1m", "tokenizer": "characters", "shape": shape(96)}
        values = {"model": model, "data": text_of(files, "all"), "steps": TEACHER_STEPS, "seed": 99, "out": str(out)}
        trained(COMMON | values)
    return out / "model"


def run(name: str, work: Path, files: dict[str, str], teacher: Path, seed: int) -> Path:
    out = work / str(seed) / name.replace(", ", "-").replace(" ", "-")
    if (out / "model").is_dir():
        return out / "model"
    begins, changes = RUNS[name]
    model: Row = {"size": "1m", "tokenizer": str(teacher), "shape": shape(48) | {"eos_token_id": 0}}
    if begins != "fresh":
        model = {"path": str(run(begins, work, files, teacher, seed))}
    data = text_of(files, "small")
    values: Row = COMMON | {"model": model, "data": data, "steps": STEPS, "seed": seed, "out": str(out)}
    if "distill" in changes:
        values |= {"objective": "distill", "distill": changes["distill"] | {"teacher": str(teacher)}}
    if changes.get("distill", {}).get("on_policy"):
        values["data"] = {"train": files["small.jsonl"], "eval": files["held.txt"], "prompts": "text"}
        values["rollout"] = {"completions": 4, "max_tokens": 32, "samples": 0, "limits": {"most_entropy": None}}
    return trained(values)


def text_of(files: dict[str, str], name: str) -> Row:
    return {"train": files[f"{name}.txt"], "eval": files["held.txt"], "layout": "windows"}


def trained(values: Row) -> Path:
    from openbook.training.recipe import recipe_of
    from openbook.training.run import train

    outcome = train(recipe_of(values))
    assert outcome.model is not None
    return outcome.model


def held_out_loss(out: Path) -> float:
    """Of the weights that the run left."""
    return round(next(row["eval_loss"] for row in reversed(logged(out)) if "eval_loss" in row), 4)


def last_step(out: Path) -> Row:
    row = next(one for one in reversed(logged(out)) if "loss" in one)
    return {name: round(row[name], 4) for name in ("loss", "cross_entropy", "divergence", "length") if name in row}


def logged(out: Path) -> list[Row]:
    from openbook.training.log import read_log

    return [dict(row) for row in read_log(out / "log.jsonl")]


def size_of(model: Path) -> int:
    from openbook.lm.load import load_model

    return sum(one.numel() for one in load_model(model).parameters())


if __name__ == "__main__":
    main()
