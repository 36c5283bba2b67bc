"""What small weights lose and take, and what adapters train: the figures of docs/adapters.md.

`python benchmarks/small_weights.py`: the norm of what is lost over the norm of a 1024 x 1024 matrix of normal numbers, and bits a
weight, for every way of `lm.quantization`; the share of parameters that each adapter trains in the 30M model and in the
shape of Qwen2.5-0.5B.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

import machine
from openbook.lm.adapters.attach import attach, detach
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings, PrefixSettings, PromptSettings
from openbook.lm.load import new_model
from openbook.lm.nn.linear import Linear
from openbook.lm.presets import new_config
from openbook.lm.quantization.integers import Int4Linear, Int8Linear
from openbook.lm.quantization.nf4 import Nf4Linear

RESULTS = Path(__file__).parent / "results" / "small_weights.json"
SIZE = 1_024
ADAPTERS = {
    "LoRA": LoraSettings(r=8),
    "rsLoRA": LoraSettings(r=8, is_rank_stabilized=True),
    "DoRA": LoraSettings(r=8, is_dora=True),
    "bottleneck": BottleneckSettings(size=32),
    "prefix": PrefixSettings(20),
    "prompt": PromptSettings(20),
}


def weights() -> dict[str, dict[str, float]]:
    source = Linear(SIZE, SIZE, bias=False).requires_grad_(False)
    source.weight.normal_(generator=torch.Generator().manual_seed(0))
    packed = {"int8": Int8Linear(source), "nf4": Nf4Linear(source)}
    for group in (32, 64, 128):
        packed[f"int4, {group}"] = Int4Linear(source, group)
        packed[f"int4, {group}, zero points"] = Int4Linear(source, group, asymmetric=True)
    return {
        name: {
            "error": float((one.dequantized() - source.weight).norm() / source.weight.norm()),
            "bits": 8 * one.size_bytes / SIZE**2,
        }
        for name, one in packed.items()
    }


def shares(raw: dict[str, Any]) -> dict[str, float]:
    model = new_model(raw, torch.bfloat16).requires_grad_(False)
    found = {}
    for name, settings in ADAPTERS.items():
        made = attach(model, settings, name)
        found[name] = made.trained / made.total
        detach(model, name)
    return found


def main() -> None:
    found: dict[str, Any] = {
        "weights": weights(),
        "trained, 30m": shares(new_config("llama", "30m", 8_192)),
        "trained, 0.5b": shares(new_config("qwen2", "0.5b", 151_936)),
    }
    for part in tuple(found):
        for name, row in found[part].items():
            print(f"{name:24} {row}")
    found["machine"] = machine.describe()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
