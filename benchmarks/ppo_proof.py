"""PPO learned from a reward that can be read off: the share of an answer's words that are one word. A small model, three seeds.

`python benchmarks/ppo_proof.py [--work DIR] [--seeds 3] [--only NAME ...]`. Of each seed: the small model of `alignment_proof.py`
answers with words drawn from two lists (the word is one in sixteen of them) and has learned to count beside. Then PPO with a head
over the policy's rows as its critic, with a critic of its own, and on a LoRA adapter: 100 optimizer steps, which are 25 rollouts
of 64 answers, each learned from four times. Reported: the mean reward of the first and the last rollout, of prompts answered
greedily, the step from which the reward of rollouts is above 0.9, the divergence from the reference (nats of an answer), the
critic's explained variance, and the cross-entropy of the skill. Writes `results/ppo_proof.json`; a run that is there already is
kept.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from alignment_data import PLACES, Row, written
from alignment_proof import COMMON, LORA, base_of, files, run, skill
from machine import describe

RESULTS = Path(__file__).resolve().parent / "results" / "ppo_proof.json"
WORD, ANSWERS, STEPS = "red", 64, 100
REWARD = f'''"""The share of words that are {WORD!r}."""


def share(completions, **_):
    return [words.count({WORD!r}) / max(len(words), 1) for words in map(str.split, completions)]
'''
RUNS: dict[str, dict[str, Any]] = {
    "shared critic": {"ppo": {"critic": "shared"}},
    "separate critic": {"ppo": {"critic": "separate"}},
    "LoRA, shared critic": {"ppo": {"critic": "shared"}, "adapter": LORA, "lr": 5e-3},
}
PPO: dict[str, Any] = COMMON | {
    "objective": "ppo",
    "batch_size": ANSWERS,
    "steps": STEPS,
    "lr": 1e-3,
    "eps": 1e-5,
    "warmup": 0,
    "schedule": "linear",
    "least_rate": 0.1,
    "eval_every": None,
    "rollout": {"completions": 1, "max_tokens": 24, "epochs": 4},
}


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


def measured(name: str, folder: Path, base: Path, data: dict[str, str], seed: int) -> Row:
    """The prompts are the six that the base knows, each many times; held out are the same, answered greedily."""
    asked = [{"prompt": f"say {place}"} for place in PLACES]
    prompts = written(folder / "prompts.jsonl", asked * 32)
    held = written(folder / "prompts_held.jsonl", asked)
    reward = folder / "reward.py"
    reward.write_text(REWARD, "utf-8")
    out = folder / name.replace(", ", "-").replace(" ", "-")
    values = PPO | RUNS[name] | {"model": {"path": str(base)}, "data": {"train": prompts, "eval": held}}
    values |= {"rewards": [{"function": f"{reward}:share"}], "seed": seed, "out": str(out)}
    began = time.process_time(), time.monotonic()
    model = run(values)
    spent = {"cpu_seconds": round(time.process_time() - began[0], 1), "seconds": round(time.monotonic() - began[1], 1)}
    return spent | logged(out) | {"skill_cross_entropy": forgotten(base, model, data, is_adapter="LoRA" in name)}


def logged(out: Path) -> Row:
    """What the log says; rewards are those of rollouts, at the step that each was first learned in."""
    from openbook.training.log import read_log

    rows = [dict(row) for row in read_log(out / "log.jsonl")]
    rewards = [(row["step"], row["reward"]) for row in rows if "reward" in row]
    rolled = [row for row in rows if "reward" in row]
    above = next((step for step, reward in rewards if reward > 0.9), None)
    held = next(row["eval_reward"] for row in reversed(rows) if "eval_reward" in row)
    first, last = rolled[0], rolled[-1]
    return {
        "reward": [round(first["reward"], 4), round(last["reward"], 4)],
        "above_0.9_from_step": above,
        "held_out_reward": round(held, 4),
        "kl_answer": round(last["kl_answer"], 3),
        "entropy": [round(first["entropy"], 3), round(last["entropy"], 3)],
        "length": [round(first["length"], 2), round(last["length"], 2)],
        "explained_variance": [round(one.get("explained_variance", 0.0), 3) for one in (first, last)],
        "first_step": {name: first[name] for name in ("clip_fraction", "approx_kl", "kl")},
        "largest_clip_fraction": round(max(row["clip_fraction"] for row in rows if "clip_fraction" in row), 4),
        "rewards": [round(reward, 4) for _, reward in rewards],
    }


def forgotten(base: Path, trained: Path, data: dict[str, str], *, is_adapter: bool) -> list[float]:
    """The cross-entropy of the skill before and after."""
    from openbook.lm.adapters.files import load_adapter
    from openbook.lm.load import load_model
    from openbook.lm.tokenizers.tokenizer import Tokenizer

    before, after = load_model(base), load_model(base if is_adapter else trained)
    if is_adapter:
        load_adapter(after, trained)
    tokenizer = Tokenizer.load(base)
    return [round(skill(one, tokenizer, data), 4) for one in (before, after)]


if __name__ == "__main__":
    main()
