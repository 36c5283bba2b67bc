"""A LoRA folded into a checkpoint's tensors with numpy alone: for encoders that run without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.peft_config import from_peft
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.checkpoint import load_arrays, read_json

Floats = NDArray[np.float32]
_BEFORE = ("base_model.model.", "bert.")


def merged_arrays(arrays: Mapping[str, Floats], adapter: Path) -> dict[str, Floats]:
    """arrays: tensors by their names without "bert."; -> all of them, W + s B A where the adapter has one, and the modules that
    it holds whole.

    Raises ModelUnavailable for an adapter that is no plain LoRA, that is broken, or that is for another base.
    """
    settings = from_peft(read_json(adapter / "adapter_config.json"), str(adapter))
    if not isinstance(settings, LoraSettings) or settings.is_dora:
        raise ModelUnavailable(
            f"{adapter} is no plain LoRA", "merge it with `openbook model merge` and name the result"
        )
    found = dict(arrays)
    held = {_plain(name): value.astype(np.float32) for name, value in _read(adapter).items()}
    if odd := next((name for name, value in held.items() if not np.isfinite(value).all()), None):
        raise ModelUnavailable(f"{adapter}: {odd} holds NaN or infinity", "take an earlier save of the adapter")
    for name, value in held.items():
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            up = held.get(f"{module}.lora_B.weight")
            base = found.get(f"{module}.weight")
            if up is None or base is None or (len(up), value.shape[1]) != base.shape:
                raise ModelUnavailable(f"{adapter}: {module} does not fit", "name the base that it was trained on")
            found[f"{module}.weight"] = base + np.float32(settings.scale_of(module)) * (up @ value)
        elif not name.endswith(".lora_B.weight"):
            found[name] = value
    return found


def _plain(name: str) -> str:
    for before in _BEFORE:
        name = name.removeprefix(before)
    return name.replace(".modules_to_save.default.", ".")


def _read(adapter: Path) -> dict[str, NDArray[np.generic]]:
    path = adapter / "adapter_model.safetensors"
    try:
        return load_arrays(path)
    except Exception as error:  # safetensors raises its own class, KeyError and OSError
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the adapter again") from error
