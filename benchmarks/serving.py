"""Tokens a second of answers, ours and our peers', on the same random weights of the shape of Qwen2.5-0.5B.

`python benchmarks/serving.py --models DIR --llama PYTHON --openvino PYTHON`: each system runs in a process and an environment
of its own (`serving_peer.py`), is stopped while another is measured, and takes its turn in every round; a figure is the median
of the rounds, a ratio the median of the rounds' ratios. Before each turn the machine must be quiet. Then ours alone: what a
step is made of, what a shared prefix saves, what of the cache is wasted, what HTTP costs. DIR keeps the models (4 GB).

Environments: llama-cpp-python 0.3.36 built natively; openvino-genai, with optimum-intel to export (installed without its
dependencies, which want another torch). Without them their rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import machine
from quiet import wait_for_quiet

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serving.json"
EXPORT = """
import sys
from optimum.intel import OVModelForCausalLM
OVModelForCausalLM.from_pretrained(sys.argv[1], export=True, load_in_8bit=True, compile=False).save_pretrained(sys.argv[2])
"""
CASES = ("decode", "prefill", "mixed")
RATIOS = (
    ("mixed", "openbook-int8", "transformers-single", 20.0),
    ("mixed", "openbook-int8", "transformers-padded", 3.5),
    ("mixed", "openbook-int8", "llama.cpp, the best", 2.5),
    ("mixed", "openbook-int8", "openvino", 1.2),
    ("mixed", "openbook-bfloat16", "transformers-padded", 2.0),
    ("decode", "openbook-int8", "llama.cpp-q8_0", 1.5),
    ("decode", "openbook-int8", "openvino", 1.2),
    ("decode", "openbook-int4", "llama.cpp-q4_0", 1.0),
    ("prefill", "openbook-int8", "openvino", 1.5),
    ("prefill", "openbook-int8", "llama.cpp-q8_0", 3.0),
)
"""(case, ours, theirs, what is aimed at)"""


class Peer:
    """A system in its process, stopped unless it is asked."""

    def __init__(self, name: str, python: str, model: Path, environment: dict[str, str] | None = None) -> None:
        self.name = name
        command = [python, str(HERE / "serving_peer.py"), name, str(model)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self._line()
        os.kill(self.process.pid, signal.SIGSTOP)

    def measure(self, case: str) -> float:
        os.kill(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None
        print(case, file=self.process.stdin, flush=True)
        found = self._line()["tokens_per_second"]
        os.kill(self.process.pid, signal.SIGSTOP)
        return float(found)

    def close(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        found: dict[str, Any] = json.loads(line)
        return found


@cache
def _gigabyte() -> Any:
    import torch

    return torch.ones(1 << 28)


def read_gb_per_second() -> float:
    """What all cores read, the best of some tries: what one answer at a time is bound by."""
    data, best = _gigabyte(), float("inf")
    for _ in range(5):
        began = time.perf_counter()
        data.sum()
        best = min(best, time.perf_counter() - began)
    return float(data.nbytes / best / 1e9)


def weight_gb(model: Path) -> dict[str, float]:
    """Of ours, what a token reads of weights: the layers and the head, once."""
    from openbook.lm.checkpoint import read_config
    from openbook.lm.load import empty_model

    parts = dict(empty_model(read_config(model), str(model)).named_parameters())
    count = sum(one.numel() for name, one in parts.items() if "layers." in name or name == "tokens.weight")
    bits = {"int8": 8, "int4": 4.5, "bfloat16": 16}
    return {f"openbook-{kind}": count * width / 8e9 for kind, width in bits.items()}


def make_models(folder: Path, openvino: str | None) -> None:
    import torch

    from forward import config
    from openbook.lm.gguf.write import write_gguf
    from openbook.lm.load import load_model, new_model, save_model
    from openbook.lm.tokenizers.default import default_tokenizer

    plain = folder / "hf"
    if not (plain / "model.safetensors").is_file():
        save_model(new_model(config("0.5b"), torch.bfloat16), plain)
        default_tokenizer().save(plain)
    for kind in ("q8_0", "q4_0", "bf16"):
        if not (folder / f"{kind}.gguf").is_file():
            # With its table of tokens in 4 bits too, which is what llama.cpp is fastest with.
            write_gguf(load_model(plain), plain, folder / f"{kind}.gguf", kind, pure=True)  # type: ignore[arg-type]
    if openvino and not (folder / "openvino" / "openvino_model.bin").is_file():
        subprocess.run([openvino, "-c", EXPORT, str(plain), str(folder / "openvino")], check=True)


def peers(folder: Path, llama: str | None, openvino: str | None) -> list[Peer]:
    found = [Peer(f"openbook-{kind}", sys.executable, folder / "hf") for kind in ("int8", "int4", "bfloat16")]
    found += [Peer(f"transformers-{way}", sys.executable, folder / "hf") for way in ("padded", "single")]
    if llama:
        found += [Peer(f"llama.cpp-{kind}", llama, folder / f"{kind}.gguf") for kind in ("q8_0", "q4_0", "bf16")]
    if openvino:
        found.append(Peer("openvino", openvino, folder / "openvino"))
    return found


def compare(systems: list[Peer], rounds: int) -> dict[str, dict[str, list[float]]]:
    """case -> system -> tokens a second, a round each; "read" -> ours -> GB a second just before one answer is timed.

    One by one, `transformers` gets a quarter of the mixed requests, once.
    """
    found: dict[str, dict[str, list[float]]] = {case: {} for case in (*CASES, "read")}
    for number in range(-1, rounds):
        for case in CASES:
            order = systems if number % 2 else systems[::-1]
            for system in order:
                is_single = system.name == "transformers-single"
                if (case == "mixed" and number < 0) or (is_single and (number > 0 or case != "mixed")):
                    continue  # who has computed the other two is warm
                share = wait_for_quiet()
                if case == "decode" and number >= 0 and system.name.startswith("openbook"):
                    found["read"].setdefault(system.name, []).append(read_gb_per_second())
                speed = system.measure("few" if is_single else case)
                print(f"{number:3} {case:8} {system.name:20} {speed:9.1f} (others {share:.2f})", flush=True)
                if number >= 0:
                    found[case].setdefault(system.name, []).append(speed)
    return found


def ratios(figures: dict[str, dict[str, list[float]]]) -> list[dict[str, Any]]:
    rows = []
    for case, ours, theirs, aim in RATIOS:
        of_case = figures[case]
        name = theirs
        if theirs == "llama.cpp, the best":
            kinds = [kind for kind in of_case if kind.startswith("llama.cpp")]
            name = max(kinds, key=lambda kind: statistics.median(of_case[kind])) if kinds else theirs
        if ours not in of_case or name not in of_case:
            continue
        one, other = of_case[ours], of_case[name]
        each = [a / b for a, b in zip(one, other, strict=False)]
        rows.append({"case": case, "ours": ours, "theirs": name, "ratio": statistics.median(each), "aim": aim,
                     "least": min(each), "most": max(each)})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "openbook-serving")
    parser.add_argument("--llama", help="python with llama-cpp-python")
    parser.add_argument("--openvino", help="python with openvino-genai")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("peers", "ours"))
    options = parser.parse_args()
    from openbook.core.threads import set_thread_environment

    set_thread_environment()
    options.models.mkdir(parents=True, exist_ok=True)
    make_models(options.models, options.openvino)
    result: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if options.only != "ours":
        result["machine"] = machine.describe()
        systems = peers(options.models, options.llama, options.openvino)
        try:
            figures = compare(systems, options.rounds)
        finally:
            for system in systems:
                system.close()
        read = figures.pop("read")
        need = weight_gb(options.models / "hf")
        result["read_gb_per_second"] = read
        result["share_of_bandwidth"] = {
            name: statistics.median(a * need[name] / b for a, b in zip(figures["decode"][name], speeds, strict=True))
            for name, speeds in read.items()
        }
        medians = {case: {name: statistics.median(all_) for name, all_ in by.items()} for case, by in figures.items()}
        result |= {"tokens_per_second": medians, "rounds": figures, "ratios": ratios(figures)}
        for row in result["ratios"]:
            print(f"{row['case']:8} {row['ours']:18} / {row['theirs']:20} {row['ratio']:6.2f}  (aim {row['aim']})")
    if options.only != "peers":
        import serving_alone

        result["alone"] = serving_alone.measure(options.models / "hf")
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
