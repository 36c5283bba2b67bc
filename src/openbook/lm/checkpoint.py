"""Reads a Hugging Face checkpoint directory: `config.json` and tensors from safetensors, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from openbook.core.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

T = TypeVar("T")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ModelUnavailable when it is missing or not an object."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelUnavailable(f"{path} is missing", "give the directory of a complete checkpoint") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from error
    if not isinstance(value, dict):
        raise ModelUnavailable(f"{path} holds {type(value).__name__}, not an object", "copy the checkpoint again")
    return value


def read_config(directory: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint directory."""
    if not directory.is_dir():
        raise ModelUnavailable(f"{str(directory)!r} is not a directory", "name the directory of a checkpoint")
    return read_json(directory / "config.json")


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint, one or the shards of its index; each stays inside the directory."""
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise ModelUnavailable(f"{index} has no weight_map of names", "copy the checkpoint again")
        shards = sorted(set(places.values()))
        if outside := [name for name in shards if Path(name).name != name]:
            raise ModelUnavailable(f"{index} names a file outside its directory: {outside[0]!r}", "do not use it")
        return [directory / name for name in shards]
    other = next((path.name for path in directory.glob("pytorch_model*.bin")), None)
    got = f"only {other}, which may run code when loaded" if other else "no weights"
    raise ModelUnavailable(
        f"{directory} has {got}",
        "use one with model.safetensors, or convert it: openbook model convert DIR OUT",
    )


def has_weights(directory: Path) -> bool:
    """Whether the directory has safetensors, whole or in shards."""
    return (directory / "model.safetensors").is_file() or (directory / "model.safetensors.index.json").is_file()


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """All tensors by their names in the checkpoint, on the CPU, in the dtype they were saved in."""
    from safetensors.torch import load_file

    return _read(directory, load_file)


def read_arrays(directory: Path) -> dict[str, NDArray[np.generic]]:
    """All tensors as numpy arrays, without importing torch; bfloat16, which numpy does not have, as float32."""
    return _read(directory, load_arrays)


def load_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a file, as `read_arrays` gives them."""
    from safetensors import deserialize
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except TypeError:  # a type that numpy does not have
        parts = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        return {name: _array(said["dtype"], said["shape"], said["data"]) for name, said in parts}


def _array(dtype: str, shape: list[int], data: bytes) -> NDArray[np.generic]:
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    plain = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32}
    return np.frombuffer(data, plain[dtype]).reshape(shape)


def _read(directory: Path, load_file: Callable[[Path], dict[str, T]]) -> dict[str, T]:
    tensors: dict[str, T] = {}
    for path in weight_files(directory):
        try:
            tensors |= load_file(path)
        except Exception as error:  # safetensors raises its own class, KeyError and OSError
            raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from error
    return tensors


def strip_prefix(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Names without `prefix` where they have it: `BertModel` saves without, heads over it save with."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Loads `state`, every parameter and nothing more; ModelUnavailable names what is missing or of another shape."""
    check_shapes(module, state, source)
    wanted = dict(module.named_parameters())
    module.load_state_dict({name: state[name] for name in wanted}, strict=False)  # a tied weight has a second name


def check_shapes(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Raises ModelUnavailable unless `state` fits; on the meta device, before any memory is spent."""
    wanted = dict(module.named_parameters())
    wrong = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if wrong:
        raise ModelUnavailable(
            f"{source} lacks or misshapes {len(wrong)} tensors, first {_describe(wrong[0], wanted, state)}",
            "check that config.json belongs to these weights",
        )


def _describe(name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    got = tuple(state[name].shape) if name in state else None
    return f"{name} (wanted {tuple(wanted[name].shape)}, got {got})"


def missing(names: Iterable[str], tensors: Mapping[str, object], source: Path) -> None:
    """ModelUnavailable when a tensor that the family needs is not in the checkpoint."""
    absent = [name for name in names if name not in tensors]
    if absent:
        raise ModelUnavailable(
            f"{source} lacks {len(absent)} tensors, first {absent[0]!r}", "check that it is a BERT checkpoint"
        )
