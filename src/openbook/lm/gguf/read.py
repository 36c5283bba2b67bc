"""Reads a GGUF file as if it were a checkpoint directory: a config.json, tensors by the checkpoint's names, a tokenizer.

Weights of up to 8 bits are made floats again (float32): what is read computes, it does not stay packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.lm.families.llama import LAYER_NAMES, MODEL_NAMES
from openbook.lm.gguf.header import read_header
from openbook.lm.gguf.metadata import to_raw
from openbook.lm.gguf.names import ARCHITECTURES, gguf_name, is_turned, to_halves

_FACTORS = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}


class GgufFile(Mapping[str, Tensor]):
    """Checkpoint name -> tensor, made a float when it is asked for. `raw`: the config.json; `keys`: the file's own settings.

    Raises ModelUnavailable for a file that is broken, of an unknown architecture, or with a tensor that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys_read, tensors = read_header(path)
        try:
            self._understand(tensors)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
            raise ModelUnavailable(f"{path} has settings that cannot be: {error!r}", "get a complete copy") from error

    def _understand(self, tensors: dict[str, Any]) -> None:
        """Config, names and shapes."""
        architecture = self.keys_read.get("general.architecture")
        layers = int(self.keys_read.get(f"{architecture}.block_count", 0))
        if layers > len(tensors):
            raise ValueError(f"{layers:,} layers of {len(tensors):,} tensors")
        theirs = _checkpoint_names(layers)
        if unknown := sorted(set(tensors) - set(theirs) - _FACTORS):
            raise ModelUnavailable(
                f"{self.path} holds tensors that are not known: {', '.join(unknown[:8])}", "use another file"
            )
        self.raw = to_raw(
            self.keys_read,
            tied="output.weight" not in tensors,
            has_qkv_bias="blk.0.attn_output.bias" in tensors
            or ("blk.0.attn_q.bias" in tensors and self.keys_read["general.architecture"] == "llama"),
            has_mlp_bias="blk.0.ffn_up.bias" in tensors,
        )
        if factors := [tensors[name] for name in sorted(_FACTORS & set(tensors))]:
            self.raw["rope_scaling"] = _scaling(factors, self.raw, self.keys_read)
        self._tensors = {theirs[name]: tensor for name, tensor in tensors.items() if name in theirs}
        self._ours = {theirs[name]: ours for ours, name in _our_names(layers).items() if name in tensors}
        self.shapes = {name: tuple(reversed([int(n) for n in one.shape])) for name, one in self._tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        from gguf.quants import dequantize

        one = self._tensors[name]
        try:
            floats = np.ascontiguousarray(dequantize(one.data, one.tensor_type)).reshape(self.shapes[name])
        except NotImplementedError:
            raise ModelUnavailable(
                f"{self.path}: {name} has the type {one.tensor_type.name}", "use another file"
            ) from None
        except ValueError as error:
            raise ModelUnavailable(f"{self.path}: {name} cannot be read: {error}", "get a complete copy") from error
        tensor = torch.from_numpy(floats if floats.flags.writeable else floats.copy())
        heads = {"q": "num_attention_heads", "k": "num_key_value_heads"}
        ours = self._ours[name]
        if is_turned(self.raw["model_type"], ours):
            tensor = to_halves(tensor, int(self.raw[heads[ours.split(".")[-2]]]))
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def not_floats(self) -> list[str]:
        """None: whatever it stores, floats are what it gives."""
        return []

    @property
    def file_type(self) -> str:
        """The type that most of its numbers are stored in: "Q8_0", "F16", ..."""
        sizes: dict[str, int] = {}
        for name, one in self._tensors.items():
            sizes[one.tensor_type.name] = sizes.get(one.tensor_type.name, 0) + torch.Size(self.shapes[name]).numel()
        return max(sizes, key=lambda one: sizes[one], default="F32")

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 where the weights are stored so, float16 likewise, else float32."""
        types = [one.tensor_type.name for name, one in self._tensors.items() if len(self.shapes[name]) > 1]
        common = max(set(types), key=types.count, default="")
        return {"BF16": torch.bfloat16, "F16": torch.float16}.get(common, torch.float32)


def _our_names(layers: int) -> dict[str, str]:
    """Our parameter -> llama.cpp's tensor."""
    modules = [ours for ours, _ in MODEL_NAMES]
    modules += [f"layers.{layer}.{ours}" for layer in range(layers) for ours, _ in LAYER_NAMES]
    return {f"{module}.{last}": gguf_name(f"{module}.{last}") for module in modules for last in ("weight", "bias")}


def _checkpoint_names(layers: int) -> dict[str, str]:
    """llama.cpp's tensor -> the checkpoint's."""
    table = dict(MODEL_NAMES) | {
        f"layers.{layer}.{ours}": f"model.layers.{layer}.{theirs}"
        for layer in range(layers)
        for ours, theirs in LAYER_NAMES
    }
    found = {}
    for ours, name in _our_names(layers).items():
        module, _, last = ours.rpartition(".")
        found[name] = f"{table[module]}.{last}"
    return found


def _scaling(factors: list[Any], raw: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors of factors as LongRoPE, which is what they are: a factor a channel."""
    by_name = {one.name: [float(x) for x in one.data] for one in factors}
    one = by_name.get("rope_freqs.weight")
    original = keys.get(f"{keys['general.architecture']}.rope.scaling.original_context_length")
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "attention_factor": float(keys.get(f"{keys['general.architecture']}.rope.scaling.attn_factor", 1.0)),
        "original_max_position_embeddings": int(original or raw["max_position_embeddings"]),
        "long_factor": one or by_name["rope_factors_long.weight"],
        "short_factor": one or by_name["rope_factors_short.weight"],
    }


__all__ = ["ARCHITECTURES", "GgufFile"]
