"""GRPO and DPO against TRL's trainers: steps and rollout tokens a second, pairs a second, memory, and where the time goes.

    python benchmarks/alignment.py --peer PEER_PYTHON [--rounds 3] [--only grpo1,grpo8,dpo] [--models DIR] [--json FILE]

PEER_PYTHON is of an environment with torch, trl and datasets. All systems train the same random weights of a 27.8M model on the
same prompts (64 tokens) or pairs, products in bfloat16, as TRL does by default; completions have up to 128 tokens, drawn at
temperature 1. "trl, default": activations are computed again; "trl, best": they are not. Ours writes with a packed copy in
bfloat16 or int8 (then with truncated importance weights), or with the trainer's own tensors. Each run is a process of its own,
one after the other in turn, when the machine is quiet; a figure is the median of the rounds' medians, a ratio the median of the
rounds' ratios. The time that ours takes for the reference before the first step of DPO counts.

grpo1      1 prompt x 8 completions a step; grpo8: 8 prompts x 8
dpo        8 pairs a step, of hh_rlhf_harmless
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import machine
from quiet import wait_for_quiet

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "alignment.json"
PARTS = ("grpo1", "grpo8", "dpo")
COMPLETIONS = {"grpo1": 8, "grpo8": 64}
PROMPT_TOKENS, COMPLETION_TOKENS = 64, 128
MICRO = 4
"""Completions of a forward pass of ours: a step is the same for every split. TRL takes all at once, as it does by default."""
STEPS = {"grpo1": (2, 6), "grpo8": (1, 3), "dpo": (2, 8)}
"""Of each part: warm-up, and those that count."""
INT8 = {"precision": "int8", "importance": 2.0}
SYSTEMS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "grpo": {
        "openbook, bfloat16": ("openbook", {"rollout": {"precision": "bfloat16"}}),
        "openbook, int8": ("openbook", {"rollout": INT8}),
        "openbook, int8, computed again": ("openbook", {"rollout": INT8, "gradient_checkpointing": True}),
        "openbook, shared": ("openbook", {"rollout": {"precision": "shared"}}),
        "trl, default": ("trl", {}),
        "trl, best": ("trl", {"gradient_checkpointing": False}),
    },
    "dpo": {
        "openbook": ("openbook", {}),
        "trl, default": ("trl", {}),
        "trl, best": ("trl", {"gradient_checkpointing": False}),
    },
}
Found = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--models", type=Path, default=None)
    parser.add_argument("--data", type=Path, default=None, help="folder of hh_rlhf_harmless")
    parser.add_argument("--json", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    report = json.loads(chosen.json.read_text("utf-8")) if chosen.json.exists() else {}
    report["machine"] = machine.describe()
    with tempfile.TemporaryDirectory() as scratch:
        models = chosen.models or Path(scratch) / "models"
        model = base(models / "30m")
        for part in chosen.only.split(","):
            rounds = [measured(part, model, chosen.peer, Path(scratch), chosen.data) for _ in range(chosen.rounds)]
            report[part] = joined(part, rounds)
            chosen.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
            print(part, json.dumps(report[part], indent=1), flush=True)


def base(folder: Path) -> Path:
    """A checkpoint in float32 with a tokenizer, made once."""
    if not (folder / "model.safetensors").is_file():
        from forward import config
        from openbook.lm.load import new_model, save_model
        from openbook.lm.tokenizers.default import default_tokenizer

        tokenizer = default_tokenizer()
        special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
        save_model(new_model(config("30m") | special | {"vocab_size": tokenizer.vocab_size}), folder)
        tokenizer.save(folder)
    return folder


def measured(part: str, model: Path, peer: str, scratch: Path, data: Path | None) -> Found:
    task = "dpo" if part == "dpo" else "grpo"
    found = {}
    for name, (system, changes) in SYSTEMS[task].items():
        if part == "grpo8" and name == "openbook, shared":
            continue  # the first part says how much slower it is
        spec = specification(part, system, changes, model, scratch, data)
        path = scratch / "spec.json"
        path.write_text(json.dumps(spec), "utf-8")
        wait_for_quiet()
        python = peer if system == "trl" else sys.executable
        done = subprocess.run(
            [python, str(HERE / "alignment_peer.py"), str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{part}, {name}: {done.stderr[-3000:]}")
        found[name] = figures(part, json.loads(done.stdout.splitlines()[-1]), spec)
        print(part, name, found[name], flush=True)
    return found


def specification(part: str, system: str, changes: Found, model: Path, scratch: Path, data: Path | None) -> Found:
    warmup, steps = STEPS[part]
    rows = pairs_file(scratch, data, 8 * (warmup + steps)) if part == "dpo" else prompts_file(scratch, model)
    spec: Found = {"system": system, "task": "dpo" if part == "dpo" else "grpo", "warmup": warmup, "steps": steps}
    spec |= {"model": str(model), "data": str(rows), "scratch": str(scratch / "trl"), "completions": 0}
    recipe: Found = {"model": {"path": str(model)}, "data": {"train": str(rows), "cache": str(scratch / "data")}}
    recipe |= {"steps": 1_000, "lr": 1e-6, "schedule": "constant", "precision": "bfloat16", "weight_decay": 0.0}
    recipe |= {"forgetting": False, "out": str(scratch / "run")}
    if part == "dpo":
        spec["recipe"] = recipe | {"objective": "preference", "batch_size": 8, "max_seq_len": 512}
        spec["recipe"]["data"] = recipe["data"] | {"cache": str(scratch / f"data-{random.random()}"), "prompts": "text"}
        spec["trl"] = {"per_device_train_batch_size": 8, "max_length": 512} | changes
        return spec
    count = spec["completions"] = COMPLETIONS[part]
    spec["recipe"] = recipe | {
        "objective": "grpo",
        "batch_size": count,
        "micro_batch_size": MICRO,
        "max_seq_len": PROMPT_TOKENS + 16 + COMPLETION_TOKENS,
        "grpo": {"variant": "dapo", "redraws": 0},
        "rollout": {"completions": 8, "max_tokens": COMPLETION_TOKENS, "samples": 0, "limits": {"most_entropy": None}},
        "rewards": [{"builtin": "length", "target": 100}],
    }
    spec["recipe"]["data"] = recipe["data"] | {"prompts": "text"}
    if system == "openbook":
        spec["recipe"]["rollout"] |= changes["rollout"]
        spec["recipe"]["gradient_checkpointing"] = changes.get("gradient_checkpointing", False)
    spec["trl"] = {
        "num_generations": 8,
        "per_device_train_batch_size": count,
        "max_completion_length": COMPLETION_TOKENS,
    } | (changes if system == "trl" else {})
    return spec


def prompts_file(scratch: Path, model: Path) -> Path:
    """Of 64 tokens each."""
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    path = scratch / "prompts.jsonl"
    if not path.exists():
        tokenizer, drawn = Tokenizer.load(model), random.Random(0)
        words = [tokenizer.decode([token]) for token in range(300, 4_000)]
        words = [word for word in words if word.isascii() and word.strip().isalpha()]
        rows = []
        while len(rows) < 200:
            ids = tokenizer.encode("".join(drawn.choices(words, k=90)), add_special_tokens=False)
            text = tokenizer.decode(ids[:PROMPT_TOKENS])
            if len(tokenizer.encode(text, add_special_tokens=False)) <= PROMPT_TOKENS + 8:
                rows.append({"prompt": text})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def pairs_file(scratch: Path, data: Path | None, count: int) -> Path:
    """The first pairs of hh_rlhf_harmless as prompt, chosen, rejected."""
    import os

    from openbook.training.data.formats import format_of, rows_of
    from openbook.training.data.reading import data_files
    from openbook.training.data.records import records

    path = scratch / "pairs.jsonl"
    if not path.exists():
        folder = data or Path(os.environ["OPENBOOK_DATA"]) / "hh_rlhf_harmless"
        rows: list[Found] = []
        for file in data_files([folder]):
            for record in records(file.path):
                form = format_of(record.value)
                if form != "preference" or len(rows) == count:
                    continue
                row: Any = next(iter(rows_of(record.value, form)))
                begin = 0
                while row.chosen[begin : begin + 1] == row.rejected[begin : begin + 1] and begin < len(row.chosen):
                    begin += 1
                said = "".join(f"\n\n{one['role']}: {one['content']}" for one in row.chosen[:begin])
                ends = [side[begin:] for side in (row.chosen, row.rejected)]
                if all(len(end) == 1 and end[0]["content"].strip() for end in ends) and len(said) < 1_200:
                    texts = [f"\n\nassistant: {end[0]['content']}" for end in ends]
                    rows.append({"prompt": said, "chosen": texts[0], "rejected": texts[1]})
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def figures(part: str, said: Found, spec: Found) -> Found:
    steps = said["steps"]
    seconds = median(step["seconds"] for step in steps)
    found: Found = {"seconds": round(seconds, 4), "peak_gb": round(said["peak_bytes"] / 1e9, 3)}
    if part == "dpo":
        before = said["opened"] / (spec["warmup"] + spec["steps"]) if spec["system"] == "openbook" else 0.0
        return found | {"opening_seconds_a_step": round(before, 4), "pairs_per_s": round(8 / (seconds + before), 2)}
    rollout = median(step["rollout_s"] for step in steps)
    found["steps_per_s"] = round(1 / seconds, 3)
    found["rollout_tokens_per_s"] = round(median(step["written"] / step["rollout_s"] for step in steps), 1)
    shares = {"rollout": rollout / seconds}
    if spec["system"] == "openbook":
        for name in ("reward_s", "renew_s", "backward"):
            shares[name.removesuffix("_s")] = median(step.get(name, 0.0) for step in steps) / seconds
        shares["forward and the rest"] = 1 - sum(shares.values())
        found["largest_rollout_difference"] = max(step["difference"] for step in steps)
    return found | {"shares": {name: round(share, 3) for name, share in shares.items()}}


def joined(part: str, rounds: list[Found]) -> Found:
    """Medians, and ratios of each round's."""
    found: Found = {}
    names = rounds[0].keys()
    for name in names:
        found[name] = {
            key: (value if isinstance(value, dict) else median(one[name][key] for one in rounds))
            for key, value in rounds[-1][name].items()
        }
    keys = ("pairs_per_s",) if part == "dpo" else ("steps_per_s", "rollout_tokens_per_s")
    for name in names:
        if name.startswith("openbook"):
            for peer in ("trl, default", "trl, best"):
                ratios = {key: round(median(one[name][key] / one[peer][key] for one in rounds), 2) for key in keys}
                ratios["peak_gb"] = round(median(one[name]["peak_gb"] / one[peer]["peak_gb"] for one in rounds), 2)
                found[name][f"ratio to {peer}"] = ratios
    return found


if __name__ == "__main__":
    main()
