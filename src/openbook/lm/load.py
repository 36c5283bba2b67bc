"""A model from a checkpoint directory, and back: `load_model`, `save_model`, and the table of families."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_config
from openbook.lm.families.base import Family
from openbook.lm.room import check_room
from openbook.lm.state import fill, gathered, match
from openbook.lm.stored import MAX_SHARD_BYTES, Stored, write_tensors

if TYPE_CHECKING:
    from openbook.lm.gguf.read import GgufFile

FAMILIES: dict[str, str] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen2_moe", "qwen3_moe"), "llama.Llama"),
    "gpt2": "gpt2.Gpt2",
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), "bert.Bert"),
    "t5": "t5.T5",
}
"""`model_type` of config.json -> file and class in `openbook.lm.families`."""

_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "num_experts", "num_local_experts")
_ALWAYS_POSSIBLE = 1_000
Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def family_of(raw: Mapping[str, Any]) -> type[Family]:
    """The class for a config.json. ModelUnavailable names the known types, and the format of weights that are no floats."""
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ModelUnavailable(f"model_type {kind!r} is not known", f"known are {', '.join(sorted(FAMILIES))}")
    quantized = raw.get("quantization_config") or {}
    if method := quantized.get("quant_method") if isinstance(quantized, Mapping) else quantized:
        raise ModelUnavailable(
            f"its weights are quantized by {method!r}", "use the checkpoint that they were made from"
        )
    module, name = FAMILIES[kind].split(".")
    family: type[Family] = getattr(importlib.import_module(f"openbook.lm.families.{module}"), name)
    return family


def empty_model(raw: Mapping[str, Any], source: str, stored: Collection[str] | None = None) -> Family:
    """The model that `raw` describes on the meta device: shapes, and no memory. ModelUnavailable for what cannot be."""
    family = family_of(raw)
    _check_counts(raw, source, stored)
    try:
        with torch.device("meta"):
            model = family.of(raw, stored)
    except KeyError as error:
        raise ModelUnavailable(f"config.json of {source} lacks {error}", "copy the checkpoint again") from None
    except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError) as error:
        raise ModelUnavailable(f"config.json of {source}: {error}", "copy the checkpoint again") from None
    model.carried = dict(raw)
    return model


def _check_counts(raw: Mapping[str, Any], source: str, stored: Collection[str] | None) -> None:
    """ModelUnavailable for more layers or experts than there are tensors, before a module is made for each."""
    most = max(_ALWAYS_POSSIBLE, len(stored or ()))
    for key in _COUNTS:
        said = raw.get(key)
        if isinstance(said, int | float) and said > most:
            raise ModelUnavailable(
                f"config.json of {source}: {key} is {said}, at most {most:,} can be", "copy the checkpoint again"
            )


def open_checkpoint(directory: Path) -> tuple[Family, Stored | GgufFile]:
    """The model of a directory or a GGUF file on the meta device, and its tensors, none of them read."""
    if directory.suffix != ".gguf":
        raw = read_config(directory)
        stored = Stored(directory)
        return empty_model(raw, str(directory), stored), stored
    from openbook.lm.gguf.read import GgufFile

    file = GgufFile(directory)
    return empty_model(file.raw, str(directory), file), file


def load_model(
    directory: Path | str, dtype: torch.dtype | Precision | None = None, device: torch.device | str = "cpu"
) -> Family:
    """The model in a Hugging Face directory or a GGUF file, in evaluation mode, without gradients.

    `dtype` None: as it is stored. Each tensor goes from the mapped file straight to its place, so that the peak of memory is
    the model. Raises ModelUnavailable, before memory is spent, for names that are missing or that nothing is made of, for shapes
    that do not fit config.json, and where there is not enough of it.
    """
    directory = Path(directory)
    model, stored = open_checkpoint(directory)
    match(model, stored, directory)
    wanted = DTYPES[dtype] if isinstance(dtype, str) else dtype or stored.dtype
    model.to(wanted)
    _check_room(model, str(directory), device)
    model.to_empty(device=device)
    model.tie()
    fill(model, stored)
    return model.eval().requires_grad_(False)


def new_model(raw: Mapping[str, Any], dtype: torch.dtype = torch.float32, seed: int = 0) -> Family:
    """A freshly initialised model of the architecture that `raw` (a config.json) describes. ModelUnavailable where it does not
    fit into memory. `seed`: -2^63 to 2^64 - 1.
    """
    model = empty_model(raw, "the new model")
    model.to(dtype)
    _check_room(model, "the new model", "cpu")
    model.to_empty(device="cpu")
    model.tie()
    model.initialise(seed)
    return model.eval()


def _check_room(model: Family, what: str, device: torch.device | str) -> None:
    if torch.device(device).type == "cpu":
        check_room(sum(one.numel() * one.element_size() for one in model.parameters()), what)


def save_model(model: Family, directory: Path | str, *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Writes config.json and model.safetensors (shards of `max_shard_bytes`), as transformers reads them.

    Files appear whole or not at all; the tokenizer is not touched. Raises ValueError for a model that was made ready for
    inference (fused or packed weights), which no longer has the parameters of a checkpoint.
    """
    raw = model.raw_config() | {"dtype": str(model.dtype).removeprefix("torch.")}
    write_tensors(Path(directory), dict[str, Tensor](gathered(model)), raw, max_shard_bytes)
