"""Writes a model of the Llama kind as a GGUF file that llama.cpp loads: settings, tokenizer, tensors one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.core.paths import settle
from openbook.lm.disk import make_directory
from openbook.lm.families.base import Family
from openbook.lm.families.llama import Llama
from openbook.lm.gguf.metadata import to_keys
from openbook.lm.gguf.names import ARCHITECTURES, gguf_name, is_turned, to_neighbours
from openbook.lm.gguf.vocabulary import vocabulary_keys

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
_BLOCK = 32
_TABLES = ("token_embd.weight", "output.weight")


class Written(NamedTuple):
    """`bytes` of the file; `kept`: tensors that are no multiple of 32 wide and stay in 16 bits instead of being quantized."""

    bytes: int
    kept: list[str]


def write_gguf(
    model: Family, directory: Path, path: Path, dtype: GgufType = "f16", name: str = "", *, pure: bool = False
) -> Written:
    """The file appears whole or not at all; the tokenizer is that of `directory`.

    Norms, biases and factors stay float32. With q4_0 the tables of tokens are q8_0, which costs little and matters much,
    unless it is to be `pure`. Raises ModelUnavailable for a family, a scaling or a tokenizer that GGUF cannot hold.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    if dtype not in get_args(GgufType):
        raise ModelUnavailable(f"GGUF type {dtype!r} is not written", f"known are {', '.join(get_args(GgufType))}")
    check_writable(model)
    assert isinstance(model, Llama)
    tensors = dict(_tensors(model))
    plan = {key: dtype if pure and tensor.dim() > 1 else _type(key, tensor, dtype) for key, tensor in tensors.items()}
    partial = path.with_name(f".{path.name}.partial")
    writer = GGUFWriter(partial, ARCHITECTURES[model.config.model_type])
    writer.add_name(name or directory.name)
    writer.add_file_type({"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}[dtype])
    writer.add_quantization_version(2)
    for key, value in (to_keys(model.config) | vocabulary_keys(directory, model.config.vocab_size)).items():
        _add(writer, key, value)
    for key, tensor in tensors.items():
        kind = GGMLQuantizationType[plan[key].upper()]
        size = _size_bytes(tensor, plan[key])
        writer.add_tensor_info(key, list(tensor.shape), np.dtype(np.float32), size, raw_dtype=kind)
    make_directory(path.parent)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for key, tensor in tensors.items():
            writer.write_tensor_data(quantize(_floats(tensor), GGMLQuantizationType[plan[key].upper()]))
        writer.close()
        settle(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ModelUnavailable(f"{path} could not be written: {error}", "make room there, and try again") from None
    wanted = [key for key, tensor in tensors.items() if tensor.dim() > 1]
    kept = [key for key in wanted if dtype in ("q8_0", "q4_0") and plan[key] == "f16"]
    return Written(path.stat().st_size, kept)


def check_writable(model: Family) -> None:
    """Raises ModelUnavailable for a family or a setting that GGUF cannot hold."""
    if not isinstance(model, Llama) or model.config.model_type not in ARCHITECTURES:
        raise ModelUnavailable(
            f"a {model.config.model_type!r} model cannot be written as GGUF", f"known are {', '.join(ARCHITECTURES)}"
        )
    to_keys(model.config)


def _tensors(model: Llama) -> list[tuple[str, Tensor]]:
    config = model.config
    found: list[tuple[str, Tensor]] = []
    for ours, parameter in model.named_parameters():
        tensor = parameter.detach()
        if is_turned(config.model_type, ours):
            tensor = to_neighbours(tensor, config.num_heads if ".q." in ours else config.num_kv_heads)
        found.append((gguf_name(ours), tensor))
    return [*found, *_factors(model)]


def _factors(model: Llama) -> list[tuple[str, Tensor]]:
    """Stretching that is one factor a channel: base frequency over stretched frequency."""
    rope, kind = model.rope, model.config.rope_scaling.kind
    if kind == "longrope":
        scaling = model.config.rope_scaling
        return [
            ("rope_factors_long.weight", torch.tensor(scaling.long_factor)),
            ("rope_factors_short.weight", torch.tensor(scaling.short_factor)),
        ]
    if kind != "llama3":
        return []
    positions = torch.zeros(1, dtype=torch.int64)
    base = 1.0 / rope.theta ** (torch.arange(0, rope.head_dim, 2).float() / rope.head_dim)  # (D/2,)
    return [("rope_freqs.weight", base / rope.frequencies(positions)[0])]


def _type(key: str, tensor: Tensor, dtype: GgufType) -> GgufType:
    if tensor.dim() < 2:
        return "f32"
    if dtype in ("q8_0", "q4_0") and tensor.shape[-1] % _BLOCK:
        return "f16"
    return "q8_0" if dtype == "q4_0" and key in _TABLES else dtype


def _size_bytes(tensor: Tensor, dtype: GgufType) -> int:
    block = {"f32": 128, "f16": 64, "bf16": 64, "q8_0": 34, "q4_0": 18}[dtype]  # bytes of 32 numbers
    return tensor.numel() * block // _BLOCK


def _floats(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().contiguous().numpy()


def _add(writer: Any, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
