"""Rewards and preferences learned from synthetic data, on a small model, in three seeds: what each recipe comes to.

`python benchmarks/alignment_proof.py [--work DIR] [--seeds 3] [--only NAME ...]`. Of each seed: a model of 0.2 million
parameters learns to write answers without any preference, and to count. From it one run of each objective and loss, evaluated on
200 pairs that it never saw. Reported: accuracy (rewards: of the scores; preferences: of the implicit reward, by each loss's own
definition), the log-probability of a token of better and worse answers before and after, and the cross-entropy of the skill
before and after, which is what was forgotten. Writes `results/alignment_proof.json`; a run that is there already is kept.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from alignment_data import Row, chats, halves, pairs, skills, solutions, written
from machine import describe

RESULTS = Path(__file__).resolve().parent / "results" / "alignment_proof.json"
SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 160,
}
TRAINED, HELD_OUT = 2_000, 200
LORA = {"kind": "lora", "r": 8, "target_modules": "all-linear"}
COMMON: dict[str, Any] = {
    "forgetting": False,
    "batch_size": 16,
    "max_seq_len": 96,
    "weight_decay": 0.0,
    "warmup": 10,
    "steps": 400,
    "lr": 1e-4,
    "eval_every": 50,
}
RUNS: dict[str, dict[str, Any]] = {
    "reward": {"objective": "reward", "reward": {"center": 0.01}, "lr": 3e-4},
    "reward, steps": {"objective": "reward", "lr": 3e-4},
    "sigmoid": {"preference": {"loss": "sigmoid", "beta": 0.5}},
    "sigmoid, LoRA": {"preference": {"loss": "sigmoid", "beta": 0.5}, "adapter": LORA, "lr": 1e-3},
    "hinge": {"preference": {"loss": "hinge", "beta": 0.5}},
    "ipo": {"preference": {"loss": "ipo", "beta": 0.5}},
    "cdpo": {"preference": {"loss": "cdpo", "beta": 0.5}},
    "simpo": {"preference": {"loss": "simpo"}},
    "orpo": {"preference": {"loss": "orpo", "weight": 2.0}, "lr": 5e-4, "steps": 600},
    "cpo": {"preference": {"loss": "cpo"}, "lr": 3e-4, "steps": 600},
    "kto": {"preference": {"loss": "kto"}, "lr": 1e-3, "steps": 500},
}
"""What each differs in from `COMMON`. KTO sees one answer of each pair, of twice as many pairs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(RUNS))
    chosen = parser.parse_args()
    work = chosen.work or Path(mkdtemp())
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"machine": describe(), "runs": {}}
    for seed in range(chosen.seeds):
        folder = work / str(seed)
        data = files(folder, seed)
        base = base_of(folder, data, seed)
        for name in chosen.only:
            runs = found["runs"].setdefault(name, {})
            if str(seed) not in runs:
                runs[str(seed)] = measured(name, folder, base, data, seed)
                print(name, seed, runs[str(seed)], flush=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def files(folder: Path, seed: int) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {
        "chats": chats(3_000, seed),
        "skills": skills(100, seed + 1_000),
        "pairs": pairs(TRAINED, seed),
        "held": pairs(HELD_OUT, seed + 1_000),
        "halves": halves(2 * TRAINED, seed),
        "halves_held": halves(HELD_OUT, seed + 1_000),
        "steps": solutions(TRAINED, seed),
        "steps_held": solutions(HELD_OUT, seed + 1_000),
    }
    return {name: written(folder / f"{name}.jsonl", made) for name, made in rows.items()}


def base_of(folder: Path, data: dict[str, str], seed: int) -> Path:
    """The model that all runs of a seed begin with."""
    from openbook.lm.load import new_model, save_model
    from openbook.lm.tokenizers.default import default_tokenizer

    done = folder / "base-run" / "model"
    if done.is_dir():
        return done
    tokenizer = default_tokenizer(512)
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    raw = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 128}
    save_model(new_model(raw | special | SHAPE | {"tie_word_embeddings": True}, seed=seed), folder / "base")
    tokenizer.save(folder / "base")
    values = COMMON | {"model": {"path": str(folder / "base")}, "data": {"train": data["chats"]}, "eval_every": None}
    run(values | {"steps": 400, "lr": 3e-3, "seed": seed, "out": str(folder / "base-run")})
    return done


def run(values: dict[str, Any]) -> Path:
    from openbook.training.recipe import recipe_of
    from openbook.training.run import train

    outcome = train(recipe_of(values))
    assert outcome.model is not None
    return outcome.model


def measured(name: str, folder: Path, base: Path, data: dict[str, str], seed: int) -> Row:
    kind = "steps" if name == "reward, steps" else "halves" if name == "kto" else "pairs"
    held = {"steps": "steps_held", "halves": "halves_held", "pairs": "held"}[kind]
    values = COMMON | {"objective": "preference"} | RUNS[name]
    values |= {"model": {"path": str(base)}, "data": {"train": data[kind], "eval": data[held]}, "seed": seed}
    out = folder / name.replace(", ", "-")
    began = time.process_time()
    model = run(values | {"out": str(out)})
    found: Row = {"cpu_seconds": round(time.process_time() - began, 1)} | logged(out)
    if values["objective"] == "preference":
        found |= judged(name, base, model, data)
    return found


def logged(out: Path) -> Row:
    """The first loss, the best held-out loss, and the held-out metrics there."""
    from openbook.training.log import read_log

    rows = [dict(row) for row in read_log(out / "log.jsonl")]
    best = min((row for row in rows if "eval_loss" in row), key=lambda row: row["eval_loss"])
    first = next(row["loss"] for row in rows if "loss" in row)
    return {"first_loss": round(first, 6)} | {
        name: round(value, 4) for name, value in best.items() if name.startswith("eval_")
    }


def judged(name: str, base: Path, trained: Path, data: dict[str, str]) -> Row:
    """Of held-out pairs: how often the implicit reward of the better answer is the higher one; log-probabilities of a token of
    each side, and the cross-entropy of the skill, before and after.
    """
    import torch

    from openbook.lm.adapters.files import load_adapter
    from openbook.lm.load import load_model
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.training.data.preferences import preferences
    from openbook.training.data.reading import data_files
    from openbook.training.data.samples import SampleSettings
    from openbook.training.objectives.preference import answer_logprobs
    from openbook.training.objectives.preference_names import NORMALISED, WITH_REFERENCE
    from openbook.training.sources.answers import Answers

    tokenizer, loss = Tokenizer.load(base), name.split(",", maxsplit=1)[0]
    cache = Path(data["held"]).parent / "cache"
    held = preferences(data_files([Path(data["held"])]), tokenizer, SampleSettings(), cache)
    made = Answers.of([(held.shards.ids(at), held.shards.learned(at)) for at in held.pairs.T.reshape(-1).tolist()])
    before_model, after_model = load_model(base), load_model(base if "LoRA" in name else trained)
    if "LoRA" in name:
        load_adapter(after_model, trained)
    with torch.no_grad():
        before, after = (answer_logprobs(one, made) for one in (before_model, after_model))
    rewards = after - before if loss in WITH_REFERENCE else after
    rewards = rewards / made.counts if loss in NORMALISED else rewards
    count = len(made) // 2
    found: Row = {"accuracy": round(float((rewards[:count] > rewards[count:]).float().mean()), 4)}
    for side, part in (("chosen", slice(count)), ("rejected", slice(count, None))):
        tokens = float(made.counts[part].sum())
        found[f"{side}_token_logprob"] = [round(float(one[part].sum()) / tokens, 4) for one in (before, after)]
    found["skill_cross_entropy"] = [round(skill(one, tokenizer, data), 4) for one in (before_model, after_model)]
    return found


def skill(model: Any, tokenizer: Any, data: dict[str, str]) -> float:
    import numpy as np
    import torch

    from openbook.training.objectives.preference import answer_logprobs
    from openbook.training.sources.answers import Answers

    lines = Path(data["skills"]).read_text("utf-8").splitlines()
    made = [tokenizer.render(json.loads(line)["messages"]) for line in lines]
    answers = Answers.of([(np.array(one.ids), np.array(one.mask)) for one in made])
    with torch.no_grad():
        return -float(answer_logprobs(model, answers).sum() / answers.counts.sum())


if __name__ == "__main__":
    main()
