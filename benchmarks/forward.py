"""Forward, and forward with backward, in tokens a second against `transformers` on the same weights.

`python benchmarks/forward.py`: a 30M model (4 x 256 tokens) and the shape of Qwen2.5-0.5B (1 x 256 tokens), in float32 and
bfloat16, eager and compiled; the two take turns in one process, and the figure is the median of the rounds' ratios. Then the
time and the memory of loading, each in a process of its own. All logits of all tokens are computed by both; ours is
made ready by `prepare` where it is not compiled. `--cases` runs
some only (30m,0.5b), `--no-compiled` leaves out what takes minutes to compile.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

from openbook.core.threads import set_thread_environment

set_thread_environment()

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import machine  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "forward.json"
TOKENS = {"30m": (4, 256), "0.5b": (1, 256)}
LOAD = {
    "openbook": "from openbook.lm.load import load_model\nload = load_model",
    "transformers": "from transformers import AutoModelForCausalLM\nload = AutoModelForCausalLM.from_pretrained",
}
MEASURE_LOAD = """
import sys, threading, time, torch
{what}
def anonymous():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
dtype = getattr(torch, sys.argv[3])
load(sys.argv[1], dtype=dtype)  # a small one, so that imports are not counted
before, peak, stop = anonymous(), 0.0, threading.Event()
def watch():
    global peak
    while not stop.wait(0.002):
        peak = max(peak, anonymous())
thread = threading.Thread(target=watch); thread.start()
began = time.perf_counter()
model = load(sys.argv[2], dtype=dtype)
seconds = time.perf_counter() - began
stop.set(); thread.join()
size = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
print(seconds, max(peak, anonymous()) - before, size)
"""


def config(case: str) -> dict[str, Any]:
    """config.json of a case. Source of the second: the model card of Qwen2.5-0.5B."""
    from openbook.lm.presets import new_config

    if case == "30m":
        return new_config("llama", "30m", 32_000)
    raw = new_config("qwen2", "0.5b", 151_936)
    return raw | {"rope_theta": 1_000_000.0, "tie_word_embeddings": True, "max_position_embeddings": 32_768}


def interleaved(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, tokens: int) -> dict[str, float]:
    """Tokens a second of both, and the median of the rounds' ratios; one turn of each before the clock runs."""
    times: dict[str, list[float]] = {"openbook": [], "transformers": []}
    for one in (ours, theirs):
        one()
    for number in range(rounds):
        order = [("openbook", ours), ("transformers", theirs)]
        for name, one in order if number % 2 else reversed(order):
            began = time.perf_counter()
            one()
            times[name].append(time.perf_counter() - began)
    ratios = [theirs / ours for ours, theirs in zip(times["openbook"], times["transformers"], strict=True)]
    return {
        "openbook_tokens_per_s": tokens / statistics.median(times["openbook"]),
        "transformers_tokens_per_s": tokens / statistics.median(times["transformers"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def inference(folder: Path, case: str, dtype: torch.dtype, rounds: int, compiled: bool) -> dict[str, float]:
    from transformers import AutoModelForCausalLM

    from openbook.lm.load import load_model
    from openbook.lm.nn.batch import Batch
    from openbook.lm.quantization.prepare import prepare

    B, T = TOKENS[case]
    ids = torch.randint(0, 1_000, (B, T), generator=torch.Generator().manual_seed(0))
    name = "float32" if dtype is torch.float32 else "bfloat16"
    ours: Any = load_model(folder, dtype)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
    # What is made ready for inference by hand is not compiled: its kernels are no graph.
    ours, theirs = (torch.compile(ours), torch.compile(theirs)) if compiled else (prepare(ours, name), theirs)
    batch, flat = Batch.of([T] * B), ids.flatten()
    with torch.inference_mode():
        a, b = ours(flat, batch).float(), theirs(ids, use_cache=False).logits.flatten(0, 1).float()
        apart = float((a - b).abs().max() / b.abs().max())
        found = interleaved(lambda: ours(flat, batch), lambda: theirs(ids, use_cache=False).logits, rounds, B * T)
    return found | {"largest_difference": apart}


def training(folder: Path, case: str, dtype: torch.dtype, rounds: int, compiled: bool) -> dict[str, float]:
    from transformers import AutoModelForCausalLM

    from openbook.lm.load import load_model
    from openbook.lm.nn.batch import Batch

    B, T = TOKENS[case]
    ids = torch.randint(0, 1_000, (B, T), generator=torch.Generator().manual_seed(0))
    ours: Any = load_model(folder, dtype).train().requires_grad_(True)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").train()
    models = (ours, theirs)
    if compiled:
        ours, theirs = torch.compile(ours), torch.compile(theirs)
    batch, flat = Batch.of([T] * B), ids.flatten()

    def step(logits: torch.Tensor) -> float:
        loss = F.cross_entropy(logits.float(), flat)
        loss.backward()
        for model in models:
            model.zero_grad(set_to_none=True)
        return loss.item()

    def our_step() -> float:
        return step(ours(flat, batch))

    def their_step() -> float:
        return step(theirs(ids, use_cache=False).logits.flatten(0, 1))

    apart = abs(our_step() - their_step())
    return interleaved(our_step, their_step, rounds, B * T) | {"difference_of_loss": apart}


def loading(folder: Path, small: Path, dtype: str, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds, and the peak of anonymous memory over the size of the model; the files are in the page cache."""
    rows: dict[str, list[list[float]]] = {name: [] for name in LOAD}
    for _ in range(rounds):
        for name, what in LOAD.items():
            command = [sys.executable, "-c", MEASURE_LOAD.format(what=what), str(small), str(folder), dtype]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[name].append([float(one) for one in done.stdout.split()])
    return {
        name: {
            "seconds": statistics.median(row[0] for row in found),
            "peak_over_model": statistics.median(row[1] / row[2] for row in found),
            "model_mib": found[0][2],
        }
        for name, found in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default="30m,0.5b")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compiled", action="store_true")
    parser.add_argument("--only", default="inference,training,loading")
    arguments = parser.parse_args()
    from openbook.lm.load import new_model, save_model

    known: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"rows": {}, "loading": {}}
    with tempfile.TemporaryDirectory() as root:
        save_model(new_model(config("30m") | {"vocab_size": 1_000}), Path(root) / "small")
        for case in arguments.cases.split(","):
            folder = Path(root) / case
            save_model(new_model(config(case), torch.bfloat16), folder)
            modes = (False,) if arguments.no_compiled else (False, True)
            for dtype in (torch.bfloat16, torch.float32):
                name = str(dtype).removeprefix("torch.")
                for compiled in modes:
                    for what, run in (("inference", inference), ("training", training)):
                        if what not in arguments.only:
                            continue
                        title = f"{case}, {name}, {what}, {'compiled' if compiled else 'eager'}"
                        known["rows"][title] = run(folder, case, dtype, arguments.rounds, compiled)
                        torch._dynamo.reset()
                        gc.collect()
                        row = known["rows"][title]
                        print(
                            f"{title:40} {row['openbook_tokens_per_s']:9.0f} {row['transformers_tokens_per_s']:9.0f} tokens/s"
                            f"  {row['ratio']:.2f}x ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
                            flush=True,
                        )
                if "loading" in arguments.only:
                    known["loading"][f"{case}, {name}"] = loading(folder, Path(root) / "small", name, 3)
                    print(f"{case}, {name}, loading", known["loading"][f"{case}, {name}"], flush=True)
                known["machine"] = machine.describe()
                RESULTS.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
