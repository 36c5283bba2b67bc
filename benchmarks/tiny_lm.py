"""What 8-bit and 4-bit weights cost a model that has learned something: perplexity of held-out text, as it is served.

`python benchmarks/tiny_lm.py OUT`: trains a Llama of 0.8 million parameters on wikitext2 and tinyshakespeare for `--minutes`,
with a checkpoint in OUT every minute, and then asks the engine how likely the last twentieth of both texts is, with the weights
in float32, bfloat16, int8 and int4, and how many guesses of n-gram speculation it keeps. `--only-measure` takes the checkpoint
that is in OUT.

The model reads bytes (the built-in tokenizer without its merges): 2.2 MB of text are too little for a table of 8,192 tokens,
which would be most of the parameters, and mostly untrained; and in ten minutes on two cores a larger model would not see the
texts once. They come from `OPENBOOK_DATA`, and the model stays out of the repository: one of them is CC BY-SA.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any, Literal

from openbook.core.threads import set_thread_environment

set_thread_environment()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import machine  # noqa: E402
from openbook.core.messages import SamplingParams  # noqa: E402
from openbook.lm.families.base import Family  # noqa: E402
from openbook.lm.load import load_model, new_model, save_model  # noqa: E402
from openbook.lm.nn.batch import Batch  # noqa: E402
from openbook.lm.presets import new_config  # noqa: E402
from openbook.lm.score import token_logprobs  # noqa: E402
from openbook.lm.tokenizers.default import default_tokenizer  # noqa: E402
from openbook.serving.engine.engine import Engine  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "tiny_lm.json"
DATA = Path(os.environ.get("OPENBOOK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TEXTS = ("wikitext2/valid.txt.gz", "tinyshakespeare/input.txt.gz")
BYTES_ONLY = 265
"""Size of the built-in tokenizer without merges: 256 bytes and what a chat needs."""
HELD_OUT = 20
WINDOW = 512
STEP_TOKENS = 256
"""The engine computes a window in two steps, the second over the keys and values of the first."""
ROWS = 4
RATE, LEAST_RATE, WARM_UP = 2e-3, 1e-4, 0.03
AIM = 0.01
PROMPTS = 12


def read_texts() -> tuple[Tensor, list[list[int]]]:
    """The ids (N,) to train on, and windows of the last part of each text."""
    tokenizer = default_tokenizer(BYTES_ONLY)
    learned: list[int] = []
    held: list[list[int]] = []
    for name in TEXTS:
        ids = tokenizer.encode(gzip.decompress((DATA / name).read_bytes()).decode("utf-8"))
        cut = len(ids) - len(ids) // HELD_OUT
        learned += ids[:cut]
        held += [ids[at : at + WINDOW] for at in range(cut, len(ids) - WINDOW, WINDOW)]
    return torch.tensor(learned), held


def train(ids: Tensor, out: Path, minutes: float, size: str, seed: int = 0) -> dict[str, float]:
    """AdamW in float32, the rate a cosine of the time that is left. What it saw, and its last loss in nats a byte."""
    tokenizer = default_tokenizer(BYTES_ONLY)
    named = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    model = new_model(new_config("llama", size, tokenizer.vocab_size, WINDOW) | named, seed=seed)
    model.train().requires_grad_(True)
    optimizer = optimizer_of(model)
    generator = torch.Generator().manual_seed(seed)
    batch = Batch.of([WINDOW] * ROWS)
    tokenizer.save(out)
    began = saved = time.monotonic()
    step, mean = 0, math.log(256)
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(share)
        starts = torch.randint(len(ids) - WINDOW, (ROWS, 1), generator=generator)
        rows = ids[starts + torch.arange(WINDOW + 1)]  # (ROWS, WINDOW + 1)
        loss = F.cross_entropy(model(rows[:, :-1].flatten(), batch), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, mean = step + 1, 0.98 * mean + 0.02 * loss.item()
        if time.monotonic() - saved > 60:
            saved = time.monotonic()
            save_model(model, out)
            print(f"{saved - began:5.0f} s  step {step:5}  {mean:.3f} nats a byte", flush=True)
    save_model(model, out)
    count = sum(parameter.numel() for parameter in model.parameters())
    seen = step * ROWS * WINDOW
    return {"parameters": count, "minutes": minutes, "steps": step, "epochs": seen / len(ids), "last_loss": mean}


def optimizer_of(model: Family) -> torch.optim.AdamW:
    """Norms are not decayed."""
    matrices = [one for one in model.parameters() if one.ndim > 1]
    vectors = [one for one in model.parameters() if one.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), fused=True)


def rate_at(share: float) -> float:
    """Up in a line, down in half a cosine. `share`: of the time that is over."""
    if share < WARM_UP:
        return RATE * (share + 1e-3) / WARM_UP
    return LEAST_RATE + (RATE - LEAST_RATE) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def served(directory: Path, windows: list[list[int]], quantize: Literal["int8", "int4"] | None) -> float:
    """Mean log-probability of a byte, as the engine tells it: in chunks, over its own cache."""
    params = SamplingParams(max_tokens=0, prompt_logprobs=0)
    with Engine.load(directory, quantize=quantize, max_step_tokens=STEP_TOKENS) as engine:
        found = [one.logprob for answer in engine.generate(windows, params) for one in answer.prompt]
    return math.fsum(one for one in found if one is not None) / len(found)


def scored(directory: Path, windows: list[list[int]]) -> float:
    """The same by `lm.score` in float32, whole windows without a cache: what the engine is held against."""
    model, total = load_model(directory), 0.0
    with torch.inference_mode():
        for window in windows:
            total += float(token_logprobs(model, torch.tensor(window), Batch.of([len(window)])).double().sum())
    return total / sum(len(window) - 1 for window in windows)


def measure(out: Path, windows: list[list[int]]) -> dict[str, Any]:
    """Perplexity of a byte in each precision, and by how much it is above that of float32."""
    in_bfloat16 = out / "bfloat16"
    save_model(load_model(out, "bfloat16"), in_bfloat16)
    default_tokenizer(BYTES_ONLY).save(in_bfloat16)
    means = {
        "float32": served(out, windows, None),
        "bfloat16": served(in_bfloat16, windows, None),
        "int8": served(out, windows, "int8"),
        "int4": served(out, windows, "int4"),
    }
    rows: dict[str, Any] = {}
    for name, mean in means.items():
        above = math.expm1(means["float32"] - mean)
        rows[name] = {"perplexity": math.exp(-mean), "nats_per_byte": -mean, "above_float32": above}
        print(f"{name:10} {math.exp(-mean):8.4f}  {100 * above:+.3f} %")
    return {
        "precisions": rows,
        "held_out_bytes": sum(map(len, windows)),
        "float32_by_score": math.exp(-scored(out, windows)),
        "int8_within_aim": rows["int8"]["above_float32"] <= AIM,
    }


def speculated(directory: Path, windows: list[list[int]]) -> dict[str, float]:
    """Decoding with n-gram speculation against decoding without, one prompt at a time in turns: the share of the proposed tokens
    that the model keeps, and the median ratio of the times. So small a model soon repeats itself, so that much is kept.
    """
    prompts = [window[: WINDOW // 2] for window in windows[:: len(windows) // PROMPTS]]
    params = SamplingParams(max_tokens=WINDOW // 4, ignore_eos=True)
    with Engine.load(directory) as plain, Engine.load(directory, speculate="ngram") as guessing:
        speculation = guessing.loop.engine.speculation
        assert speculation is not None
        ratios = []
        for prompt in [prompts[0], *prompts]:  # the first once before the clock counts
            times = []
            for engine in (plain, guessing):
                began = time.perf_counter()
                engine.generate([prompt], params)
                times.append(time.perf_counter() - began)
            ratios.append(times[0] / times[1])
        kept = speculation.num_accepted / max(speculation.num_proposed, 1)
    found = {"kept": kept, "proposed": speculation.num_proposed, "speed": statistics.median(ratios[1:])}
    print(f"n-gram     {100 * kept:.0f} % of {speculation.num_proposed} kept, {found['speed']:.2f}x")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for the checkpoint")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default="1m", help="a preset of `openbook model new`")
    parser.add_argument("--only-measure", action="store_true")
    options = parser.parse_args()
    ids, windows = read_texts()
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if not options.only_measure:
        result |= {"machine": machine.describe(), "threads": torch.get_num_threads()}
        result["training"] = train(ids, options.out, options.minutes, options.size)
    result |= measure(options.out, windows)
    result["ngram_speculation"] = speculated(options.out, windows)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
