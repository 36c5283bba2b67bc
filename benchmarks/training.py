"""Training against TRL's `SFTTrainer` (with PEFT for LoRA) and against a plain loop: tokens a second, memory, the loss curve.

    python benchmarks/training.py --peer PEER_PYTHON [--rounds 2] [--only PART,...] [--models DIR] [--json FILE]

PEER_PYTHON is of an environment with torch, trl, peft and datasets. All systems train the same random weights (saved in float32)
on the same samples of Alpaca, of natural lengths, tokenised once, with the same marks of what is learned, AdamW in float32 and
products in bfloat16, as TRL does by default. "trl, default": padding to the longest, activations computed again. "trl, best":
packed, nothing computed again; the faster of its two ways to pack. Each run is a process of its own, one after the other in turn,
when the machine is quiet; a figure is the median of the rounds, a ratio the median of the rounds' ratios. Tokens are those of the
samples, never padding. Parts:

speed30    steps of 4,096 tokens of a 30M model; speed05: of 1,024 of the shape of Qwen2.5-0.5B, whole and with LoRA
memory     the most memory of the processes of speed05 (VmHWM), and with moments of 8 bits
curve      200 steps of the 30M model on the same batches in the same order, in float32
ablation   the 30M model without one thing at a time
tiny       the recipe `pretrain-llama-tiny` against `plain_loop.py`
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import machine
from quiet import wait_for_quiet

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training.json"
PARTS = ("speed30", "speed05", "memory", "curve", "ablation", "tiny")
LR, SEED = 2e-4, 7
LORA_R = 8
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Found = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`tokens` of an optimizer step in packed rows of `row` tokens; TRL's default has as many samples as hold so many tokens."""

    model: str
    tokens: int
    row: int
    steps: int
    warmup: int = 1


CASES = {"30m": Case("30m", 4_096, 512, 6, 2), "0.5b": Case("0.5b", 1_024, 512, 4)}
BEST = {"packing": True, "gradient_checkpointing": False}
"""Of TRL. Both ways to pack are tried: without a mask between samples ("wrapped"), and with one ("bfd")."""
AGAIN = "openbook, computed again"
"""Activations are computed again in the backward pass, as TRL does by default."""
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "openbook": ("openbook", {}),
    AGAIN: ("openbook", {"gradient_checkpointing": True}),
    "trl, default": ("trl", {}),
    "trl, packed": ("trl", BEST),
    "trl, packed without isolation": ("trl", BEST | {"packing_strategy": "wrapped"}),
}
ABLATION: dict[str, dict[str, Any]] = {
    "all": {},
    "rows not packed": {"layout": "single"},
    "all logits": {"all_logits": True},
    "float32": {"precision": "float32"},
    "compiled": {"compile": True},
    "activations computed again": {"gradient_checkpointing": True},
    "8-bit moments": {"optimizer": "adamw8bit"},
}


@dataclass
class Bench:
    """`scratch`: of this run; `models`: stays."""

    peer: str | None
    models: Path
    scratch: Path
    alpaca: Path
    report: Found
    rounds: int
    steps: int | None

    def case(self, name: str) -> Case:
        found = CASES[name]
        return found if self.steps is None else Case(found.model, found.tokens, found.row, self.steps, found.warmup)

    def model(self, name: str) -> Path:
        """A checkpoint in float32 with a tokenizer, made once."""
        folder = self.models / name
        if not (folder / "model.safetensors").is_file():
            from forward import config
            from openbook.lm.load import new_model, save_model
            from openbook.lm.tokenizers.default import default_tokenizer

            save_model(new_model(config(name)), folder)
            default_tokenizer().save(folder)
        return folder

    @cached_property
    def samples(self) -> Path:
        """A JSONL of [ids, learned], as our recipe reads Alpaca."""
        from openbook.lm.tokenizers.tokenizer import Tokenizer
        from openbook.training.parallel import Ranks
        from openbook.training.recipe import recipe_of
        from openbook.training.rows import open_rows

        recipe = recipe_of(self.recipe(self.case("30m")))
        shards = open_rows(recipe, Tokenizer.load(self.model("30m")), Ranks()).train
        path = self.scratch / "samples.jsonl"
        with path.open("w") as file:
            for one in range(len(shards)):
                file.write(json.dumps([shards.ids(one).tolist(), shards.learned(one).tolist()]) + "\n")
        self.report["samples"] = len(shards)
        self.report["mean_tokens"] = round(shards.num_tokens / len(shards), 1)
        return path

    def recipe(self, case: Case, **changes: Any) -> Found:
        layout = changes.pop("layout", "packed")
        rows = case.tokens // case.row
        if layout == "single":
            rows = self.samples_of(case.tokens)
        return {
            "model": {"path": str(self.model(case.model))},
            "data": {
                "train": str(self.alpaca),
                "prompts": "alpaca",
                "layout": layout,
                "cache": str(self.scratch / "data"),
            },
            "steps": 10_000,
            "batch_size": rows,
            "max_seq_len": case.row,
            "lr": LR,
            "schedule": "constant",
            "betas": [0.9, 0.999],
            "weight_decay": 0.0,
            "max_norm": 1.0,
            "precision": "bfloat16",
            "forgetting": False,
            "seed": SEED,
            "out": str(self.scratch / "run"),
        } | changes

    def samples_of(self, tokens: int) -> int:
        """How many samples hold about so many tokens."""
        return max(round(tokens / float(self.report["mean_tokens"])), 1)

    def ours(self, case: Case, **changes: Any) -> Found:
        """What a process of ours is told. `lora`: with an adapter."""
        also = {name: changes.pop(name) for name in ("all_logits", "order") if name in changes}
        if changes.pop("lora", False):
            changes["adapter"] = {"kind": "lora", "r": LORA_R, "alpha": 16, "target_modules": "all-linear"}
        steps = {"system": "openbook", "steps": case.steps, "warmup": case.warmup, "samples": str(self.samples)}
        return steps | {"recipe": self.recipe(case, **changes)} | also

    def theirs(self, case: Case, **changes: Any) -> Found:
        """What a process of TRL is told. Where samples are padded, batches of at most 8, its default."""
        also = {name: changes.pop(name) for name in ("order",) if name in changes}
        is_lora = changes.pop("lora", False)
        count = changes.pop("samples", None) or self.samples_of(case.tokens)
        at_once = min(count, 8)
        rows = case.tokens // case.row
        sizes = {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": max(count // at_once, 1)}
        if changes.get("packing"):
            # A batch that is packed with isolation is one sequence with a dense mask over all of it, so that rows go one by one.
            is_one = changes.get("packing_strategy", "bfd") == "bfd"
            sizes = {
                "per_device_train_batch_size": 1 if is_one else rows,
                "gradient_accumulation_steps": rows if is_one else 1,
            }
        settings = {
            "max_length": case.row if changes.get("packing") else case.row + 1,  # the last token is only learned
            "completion_only_loss": True,
            "learning_rate": LR,
            "lr_scheduler_type": "constant",
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "seed": SEED,
        }
        spec = {
            "system": "trl",
            "model": str(self.model(case.model)),
            "samples": str(self.samples),
            "scratch": str(self.scratch / "trl"),
            "steps": case.steps,
            "warmup": case.warmup,
            "trl": settings | sizes | changes,
        }
        if is_lora:
            spec["lora"] = {"r": LORA_R, "lora_alpha": 16, "target_modules": list(MODULES), "task_type": "CAUSAL_LM"}
        return spec | also

    def spec(self, system: str, case: Case, **changes: Any) -> Found:
        kind, own = SYSTEMS[system]
        return (self.ours if kind == "openbook" else self.theirs)(case, **own, **changes)

    def run(self, spec: Found, label: str) -> Found:
        """One process, when the machine is quiet."""
        path = self.scratch / "spec.json"
        path.write_text(json.dumps(spec), "utf-8")
        python = sys.executable if spec["system"] == "openbook" else self.peer
        assert python is not None
        share = wait_for_quiet()
        done = subprocess.run(
            [python, str(HERE / "training_peer.py"), str(path)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{label} failed:\n{done.stderr[-4_000:]}")
        found: Found = json.loads(done.stdout)
        if found["seconds"]:
            found["tokens_per_s"] = sum(found["tokens"]) / sum(found["seconds"])
            found["busy"] = round(share, 2)
        print(
            f"{label:46} {found.get('tokens_per_s', 0):9.1f} tokens/s {found['peak_bytes'] / 2**30:6.2f} GiB"
            f" (others {share:.2f})",
            flush=True,
        )
        return found


def compare(bench: Bench, case: Case, systems: Sequence[str], **changes: Any) -> Found:
    """Each system in turn, in every round; medians, and ratios of the first against the others."""
    rows: dict[str, list[Found]] = {name: [] for name in systems}
    for number in range(bench.rounds):
        for name in systems if number % 2 == 0 else systems[::-1]:
            rows[name].append(bench.run(bench.spec(name, case, **changes), f"{case.model} {name} {changes or ''}"))
    return {"tokens_per_s": {name: median(one["tokens_per_s"] for one in rows[name]) for name in systems}} | {
        "tokens_a_step": {name: round(median(median(one["tokens"]) for one in rows[name])) for name in systems},
        "peak_bytes": {name: max(one["peak_bytes"] for one in rows[name]) for name in systems},
        "ratios": {
            ours: {name: ratio(rows[ours], rows[name]) for name in systems if SYSTEMS[name][0] != "openbook"}
            for ours in systems
            if SYSTEMS[ours][0] == "openbook"
        },
        "giga_ops": round(median(giga_ops(one) for one in rows[systems[0]])),
    }


def ratio(ours: Sequence[Found], theirs: Sequence[Found]) -> dict[str, float]:
    each = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(ours, theirs, strict=True)]
    return {"ratio": round(median(each), 3), "least": round(min(each), 3), "most": round(max(each), 3)}


def giga_ops(one: Found) -> float:
    """A second, in the products of weights that a step needs: the layers for every token, the head for those that are learned."""
    work = sum(one["tokens"]) * one["body_flops"] + sum(one["learned"]) * one["head_flops"]
    return float(work / sum(one["seconds"]) / 1e9)


def speed30(bench: Bench) -> None:
    bench.report["speed30"] = compare(bench, bench.case("30m"), tuple(SYSTEMS))
    bench.report["peak_giga_ops"] = peaks()


def speed05(bench: Bench) -> None:
    case = bench.case("0.5b")
    bench.report["speed05"] = compare(bench, case, tuple(SYSTEMS))
    bench.report["speed05_lora"] = compare(bench, case, ("openbook", AGAIN, "trl, default", "trl, packed"), lora=True)
    bench.report["peak_giga_ops"] = peaks()


def memory(bench: Bench) -> None:
    """Of the processes of speed05; 8-bit moments are others, activations computed again."""
    case = Case("0.5b", 1_024, 512, 2, 1)
    small = {"optimizer": "adamw8bit", "gradient_checkpointing": True}
    found = bench.run(bench.ours(case, **small), "0.5b openbook, 8-bit moments")
    whole = bench.report["speed05"]["peak_bytes"]
    lora = bench.report["speed05_lora"]["peak_bytes"]
    rows = {
        "whole": (whole["openbook"], whole),
        "whole, computed again": (whole[AGAIN], whole),
        "whole, computed again, 8-bit moments": (found["peak_bytes"], whole),
        "LoRA": (lora["openbook"], lora),
        "LoRA, computed again": (lora[AGAIN], lora),
    }
    bench.report["memory"] = {
        name: {
            "openbook_bytes": own,
            "peer_bytes": {key: value for key, value in peers.items() if SYSTEMS[key][0] != "openbook"},
            "shares": {key: round(own / value, 3) for key, value in peers.items() if SYSTEMS[key][0] != "openbook"},
        }
        for name, (own, peers) in rows.items()
    }
    print(json.dumps(bench.report["memory"], indent=1))


def curve(bench: Bench) -> None:
    """The same 4 samples a step in both, in float32: how far the losses are apart."""
    steps, size = bench.steps or 200, 4
    lines = sum(1 for _ in bench.samples.open())
    chosen = random.Random(SEED).sample(range(lines), steps * size)
    order = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    case = Case("30m", 1_024, 512, steps, 0)
    ours = bench.run(bench.ours(case, order=order, precision="float32"), "30m openbook, curve")
    plain = {"bf16": False, "gradient_checkpointing": False}
    theirs = bench.run(bench.theirs(case, order=order, samples=size, **plain), "30m trl, curve")
    apart = [abs(a - b) / b for a, b in zip(ours["losses"], theirs["losses"], strict=True)]
    bench.report["curve"] = {
        "steps": steps,
        "largest": max(apart),
        "mean": sum(apart) / len(apart),
        "openbook": [round(one, 4) for one in ours["losses"][:: max(steps // 20, 1)]],
        "trl": [round(one, 4) for one in theirs["losses"][:: max(steps // 20, 1)]],
        "last_ten": [sum(one["losses"][-10:]) / len(one["losses"][-10:]) for one in (ours, theirs)],
    }
    print(f"curve: at most {100 * max(apart):.3f} % apart", flush=True)


def ablation(bench: Bench) -> None:
    """Against "all" of the same round."""
    case = bench.case("30m")
    rows: dict[str, list[Found]] = {name: [] for name in ABLATION}
    for _ in range(bench.rounds):
        for name, changes in ABLATION.items():
            rows[name].append(bench.run(bench.ours(case, **changes), f"30m openbook, {name}"))
    bench.report["ablation"] = {
        name: {
            "tokens_per_s": median(one["tokens_per_s"] for one in found),
            "of_all": ratio(found, rows["all"])["ratio"],
            "peak_bytes": max(one["peak_bytes"] for one in found),
        }
        for name, found in rows.items()
    }


def peaks() -> dict[str, float]:
    """Measured in a process of its own, with the environment that training has."""
    code = (
        "from openbook.core.threads import set_thread_environment; set_thread_environment()\n"
        "import json, machine; print(json.dumps(machine.arithmetic_peak()))"
    )
    wait_for_quiet()
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


TINY: dict[str, tuple[str, ...] | None] = {
    "plain loop": None,
    "openbook": (),
    "openbook, bfloat16": ("precision=bfloat16",),
}


def tiny(bench: Bench) -> None:
    """`steps_s`: the steps alone; `process_s`: from the start of the process to its end, with one evaluation. The plain loop has
    no products in bfloat16."""
    from datasets import data_folder

    text, steps = data_folder() / "tinyshakespeare" / "input.txt.gz", bench.steps or 500
    found: dict[str, list[dict[str, float]]] = {name: [] for name in TINY}
    for _ in range(bench.rounds):
        for name, overrides in TINY.items():
            wait_for_quiet()
            began = time.perf_counter()
            said = plain(text, steps) if overrides is None else recipe_run(text, steps, overrides)
            found[name].append(said | {"process_s": round(time.perf_counter() - began, 2)})
            print(f"tiny, {name}", found[name][-1], flush=True)
    bench.report["tiny"] = {"steps": steps} | {
        name: {key: round(median(one[key] for one in rows), 4) for key in ("loss", "steps_s", "process_s")}
        for name, rows in found.items()
    }


def plain(text: Path, steps: int) -> dict[str, float]:
    said = program([str(HERE / "plain_loop.py"), str(text), str(steps)])
    return {"loss": said["loss"], "steps_s": said["seconds"]}


def recipe_run(text: Path, steps: int, overrides: tuple[str, ...]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        settings = (f"data.train={text}", f"steps={steps}", f"out={folder}/run", "eval_every=", *overrides)
        said = program(["-m", "openbook", "train", "pretrain-llama-tiny", *settings, "--json"])
        rows = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    return {"loss": said["best_loss"], "steps_s": sum(row.get("seconds", 0.0) for row in rows)}


def program(arguments: list[str]) -> Found:
    """The JSON that a program of ours prints."""
    done = subprocess.run([sys.executable, *arguments], cwd=HERE.parent, check=True, capture_output=True, text=True)
    said: Found = json.loads(done.stdout)
    return said


RUN: dict[str, Callable[[Bench], None]] = {
    "speed30": speed30,
    "speed05": speed05,
    "memory": memory,
    "curve": curve,
    "ablation": ablation,
    "tiny": tiny,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peer", help="python of an environment with trl, peft and datasets; needed by all but two parts"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--steps", type=int, help="of each run, in place of the usual number: to try it out")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "openbook-training")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    chosen = [name for name in PARTS if name in options.only.split(",")]
    if not options.peer and set(chosen) - {"ablation", "tiny"}:
        parser.error("--peer is needed for a comparison with TRL")
    from datasets import data_folder

    report: Found = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else {}
    report["machine"] = machine.describe()
    with tempfile.TemporaryDirectory() as scratch:
        alpaca = data_folder() / "alpaca" / "alpaca_5000.json.gz"
        options.models.mkdir(parents=True, exist_ok=True)
        bench = Bench(options.peer, options.models, Path(scratch), alpaca, report, options.rounds, options.steps)
        bench.samples  # noqa: B018  # counted before anything is measured
        for name in chosen:
            began = time.perf_counter()
            RUN[name](bench)
            report.setdefault("minutes", {})[name] = round((time.perf_counter() - began) / 60, 1)
            options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in report.items() if key != "curve"}, indent=1))


if __name__ == "__main__":
    main()
