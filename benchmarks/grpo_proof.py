"""Arithmetic learned from rewards alone, behind a fine-tune that knows little of it: GRPO and its kin in three seeds.

`python benchmarks/grpo_proof.py [--work DIR] [--seeds 3] [--only NAME ...]`. Of each seed a model of 0.4 million parameters that
was stopped while it learned addition, once of one digit, once of two, where a third of its answers is right. From it one run of
each variant, its reward 1 for the right number and 0 for any other. Reported: the share of right answers drawn at temperature 1
(pass@1) and of the likeliest, before and after, on all sums of one digit, on 500 sums of two that no run has seen; the steps, the
seconds of the processor, the divergence, the length, and the largest difference between what wrote and what learned. Writes
`results/grpo_proof.json`; a run that is there already is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from machine import describe

RESULTS = Path(__file__).resolve().parent / "results" / "grpo_proof.json"
SHAPE = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 24,
    "intermediate_size": 256,
}
Row = dict[str, Any]
HELD_OUT = 500
COMMON: Row = {
    "objective": "grpo",
    "forgetting": False,
    "batch_size": 256,
    "max_seq_len": 16,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "least_rate": 0.02,
    "warmup": 5,
    "steps": 800,
    "lr": 3e-4,
    "rollout": {"completions": 16, "max_tokens": 4, "max_num_seqs": 256, "samples": 0},
    "rewards": [{"builtin": "number"}],
}
PLAIN: Row = {"grpo": {"variant": "grpo", "beta": 0.0}}
SHORT: Row = {"steps": 400}
RUNS: dict[str, Row] = {
    "grpo": PLAIN,
    "grpo, 400 steps": PLAIN | SHORT,
    "grpo, beta .04": {"grpo": {"variant": "grpo"}} | SHORT,
    "dr_grpo": {"grpo": {"variant": "dr_grpo"}} | SHORT,
    "dapo": {"grpo": {"variant": "dapo"}} | SHORT,
    "rloo": {"grpo": {"variant": "rloo"}} | SHORT,
    "reinforce++": {"grpo": {"variant": "reinforce++"}} | SHORT,
    "reinforce++_baseline": {"grpo": {"variant": "reinforce++_baseline"}} | SHORT,
    "gspo": {"grpo": {"variant": "gspo"}} | SHORT,
    **{f"grpo, {one} rollouts": PLAIN | SHORT | {"precision": one} for one in ("float32", "bfloat16", "int8")},
    "grpo, two digits": PLAIN | {"steps": 1_500},
}
"""What each differs in from `COMMON`. "precision" is that of rollouts; below float32 with truncated importance weights."""
WARM_STEPS, SHARE = 1_000, 0.3
"""The fine-tune that each begins with has at most so many steps: it is stopped where this share of drawn answers is right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    chosen = parser.parse_args()
    work = chosen.work or Path(mkdtemp())
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"machine": describe(), "runs": {}}
    for seed in range(chosen.seeds):
        for name in chosen.only:
            runs = found["runs"].setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = measured(name, work / str(seed), seed)
                print(name, seed, runs[str(seed)], flush=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def sums(digits: str, seed: int) -> tuple[list[Row], list[Row]]:
    """Those to learn from, and those that are held out: of one digit all are both."""
    low, high = (0, 10) if digits == "one" else (10, 100)
    pairs = [(a, b) for a in range(low, high) for b in range(low, high)]
    rows = [{"prompt": f"{a}+{b}=", "completion": str(a + b), "answer": str(a + b)} for a, b in pairs]
    random.Random(seed).shuffle(rows)
    return (rows, rows) if digits == "one" else (rows[HELD_OUT:], rows[:HELD_OUT])


def files(folder: Path, digits: str, seed: int) -> tuple[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for kind, rows in zip(("train", "held"), sums(digits, seed), strict=True):
        path = folder / f"{digits}-{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        names.append(str(path))
    return names[0], names[1]


def base_of(folder: Path, digits: str, seed: int) -> Path:
    """The model that all runs of a seed begin with: a fine-tune that was stopped early."""
    from openbook.lm.load import new_model, save_model
    from openbook.lm.tokenizers.default import default_tokenizer

    done = folder / f"{digits}-sft" / "model"
    if done.is_dir():
        return done
    tokenizer = default_tokenizer(512)
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    raw = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64}
    begun = folder / f"{digits}-new"
    save_model(new_model(raw | special | SHAPE | {"tie_word_embeddings": True}, seed=seed), begun)
    tokenizer.save(begun)
    train, _ = files(folder, digits, seed)
    values: Row = {"model": {"path": str(begun)}, "data": {"train": train, "layout": "single"}, "seed": seed}
    values |= {
        "batch_size": 64,
        "max_seq_len": 16,
        "lr": 1e-3,
        "schedule": "constant",
        "warmup": 20,
        "weight_decay": 0.0,
    }
    out = folder / f"{digits}-sft"
    run(values | {"steps": WARM_STEPS, "save_every": 20, "keep": WARM_STEPS, "forgetting": False, "out": str(out)})
    _, held = files(folder, digits, seed)
    chosen = next(one for one in sorted(out.glob("step-*")) if right(one, held, seed)["drawn"] >= SHARE)
    rmtree(done)
    chosen.rename(done)
    for one in out.glob("step-*"):
        rmtree(one)
    return done


def run(values: Row) -> Path:
    from openbook.training.recipe import recipe_of
    from openbook.training.run import train

    outcome = train(recipe_of(values))
    assert outcome.model is not None
    return outcome.model


def measured(name: str, folder: Path, seed: int) -> Row:
    digits = "two" if "two" in name else "one"
    base = base_of(folder, digits, seed)
    train, held = files(folder, digits, seed)
    out = folder / name.replace(", ", "-").replace(" ", "-")
    changes = dict(RUNS[name])
    if (precision := changes.pop("precision", None)) is not None:
        importance = None if precision == "float32" else 2.0
        changes["rollout"] = COMMON["rollout"] | {"precision": precision, "importance": importance}
    values = COMMON | changes | {"model": {"path": str(base)}, "seed": seed, "out": str(out)}
    values |= {"data": {"train": train, "prompts": "text"}}
    before = right(base, held, seed)
    began, wall = time.process_time(), time.perf_counter()
    model = run(values)
    found: Row = {"cpu_seconds": round(time.process_time() - began, 1), "seconds": round(time.perf_counter() - wall, 1)}
    return found | {"before": before, "after": right(model, held, seed)} | logged(out)


def right(model: Path, held: str, seed: int) -> Row:
    """Shares of right answers: drawn at temperature 1, and the likeliest."""
    from openbook.core.messages import SamplingParams
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.serving.engine.engine import Engine

    rows = [json.loads(line) for line in Path(held).read_text("utf-8").splitlines()]
    tokenizer = Tokenizer.load(model)
    prompts = [tokenizer.encode(row["prompt"], add_special_tokens=False) for row in rows]
    found = {}
    with Engine.load(model, max_num_seqs=128) as engine:
        for kind, temperature in (("drawn", 1.0), ("likeliest", 0.0)):
            params = SamplingParams(temperature=temperature, max_tokens=4, seed=seed)
            outputs = engine.generate(prompts, params)
            is_right = [tokenizer.decode(one.tokens) == row["answer"] for one, row in zip(outputs, rows, strict=True)]
            found[kind] = round(sum(is_right) / len(rows), 4)
    return found


def logged(out: Path) -> Row:
    """Of the last ten steps, and the largest of all."""
    from openbook.training.log import read_log

    rows = [dict(row) for row in read_log(out / "log.jsonl") if "loss" in row]
    last = rows[-10:]
    found: Row = {"steps": len(rows), "first_loss": rows[0]["loss"]}
    for name in (
        "reward",
        "kl",
        "entropy",
        "length",
        "no_signal",
        "clip_fraction",
        "renew_s",
        "renew_mb",
        "importance",
    ):
        known = [row[name] for row in last if name in row]
        if known:
            found[name] = round(sum(known) / len(known), 4)
    found["most_rollout_difference"] = max(row["rollout_difference"] for row in rows)
    found["rollout_difference"] = sum(row["rollout_difference"] for row in rows) / len(rows)
    reached = [row["step"] for row in rows if row["reward"] >= 0.9]
    found["steps_to_reward_0.9"] = reached[0] if reached else None
    found["rollout_share"] = round(sum(row["rollout_s"] for row in rows) / sum(row["seconds"] for row in rows), 3)
    return found


if __name__ == "__main__":
    main()
