"""Training against a plain loop: the recipe `pretrain-llama-tiny`, the same model, data, steps and optimizer in both.

    python benchmarks/training.py TEXT [--runs 3] [--steps 2000] [--json FILE]

Runs in turn, each in a process of its own. `steps_s`: the steps alone; `process_s`: from the start of the process to its
end, with one evaluation. `bfloat16`: products in 16 bits, which the plain loop has not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import machine
from quiet import wait_for_quiet

ROOT = Path(__file__).resolve().parents[1]
WAYS: dict[str, tuple[str, ...] | None] = {
    "plain loop": None,
    "openbook": (),
    "openbook, bfloat16": ("precision=bfloat16",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "training.json")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine.describe(), "steps": options.steps}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(options.runs):
        for name, overrides in WAYS.items():
            wait_for_quiet()
            began = time.perf_counter()
            if overrides is None:
                said = plain(options.text, options.steps)
            else:
                said = openbook(options.text, options.steps, overrides)
            found[name].append(said | {"process_s": round(time.perf_counter() - began, 2)})
            print(name, found[name][-1], flush=True)
    report["recipes"] = {
        "pretrain-llama-tiny": {
            name: {key: round(median(one[key] for one in rows), 4) for key in ("loss", "steps_s", "process_s")}
            for name, rows in found.items()
        }
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report["recipes"], indent=1))


def plain(text: Path, steps: int) -> dict[str, float]:
    said = run([str(Path(__file__).with_name("plain_loop.py")), str(text), str(steps)])
    return {"loss": said["loss"], "steps_s": said["seconds"]}


def openbook(text: Path, steps: int, overrides: tuple[str, ...]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"data.train={text}", f"steps={steps}", f"out={folder}/run", "eval_every=", *overrides)
        said = run(["-m", "openbook", "train", "pretrain-llama-tiny", *settings, "--json"])
        rows = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    return {"loss": said["best_loss"], "steps_s": sum(row.get("seconds", 0.0) for row in rows)}


def run(arguments: list[str]) -> dict[str, Any]:
    """The JSON that a program prints."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    main()
