"""The tensors of a checkpoint directory: looked at without reading them, mapped when asked for, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.core.paths import settle, sync
from openbook.lm.checkpoint import weight_files
from openbook.lm.disk import make_directory, write_json

_SAVED_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
MAX_SHARD_BYTES = 5_000_000_000
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}
"""What the first BERT checkpoints call the parameters of a norm."""


class Stored(Mapping[str, Tensor]):
    """Name -> tensor of all safetensors files of a directory. A tensor is a view of its file, which is mapped as long as one of
    its tensors is held: who reads one after the other never has more than one of them in memory.

    Raises ModelUnavailable for a file that is truncated or whose header is not true to it, and for a tensor that is there twice.
    """

    def __init__(self, directory: Path) -> None:
        from safetensors import safe_open

        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._names: dict[str, str] = {}
        for path in weight_files(directory):
            try:
                file = safe_open(path, framework="pt")
                for theirs in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 (it is no mapping)
                    name = _current(theirs)
                    if name in self.shapes:
                        raise ValueError(f"{name} is there twice")
                    piece = file.get_slice(theirs)  # type: ignore[no-untyped-call]
                    self.shapes[name], self.dtypes[name] = tuple(piece.get_shape()), piece.get_dtype()
                    self._files[name], self._names[name] = path, theirs
            except Exception as error:  # safetensors raises its own class, KeyError and OSError
                raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the checkpoint again") from error

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        with safe_open(self._files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(self._names[name])
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def not_floats(self) -> list[str]:
        """Names of tensors of integers or 8-bit floats: what quantizers leave, and what is no parameter."""
        return [name for name, dtype in self.dtypes.items() if dtype not in _SAVED_DTYPES]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of most of its numbers; float32 when none is a float."""
        sizes: dict[torch.dtype, int] = {torch.float32: 0}
        for name, shape in self.shapes.items():
            dtype = _SAVED_DTYPES.get(self.dtypes[name])
            if dtype is not None:
                sizes[dtype] = sizes.get(dtype, 0) + torch.Size(shape).numel()
        return max(sizes, key=lambda one: sizes[one])

    @property
    def file_type(self) -> str:
        """The type that most of its numbers are stored in, as safetensors calls it: "F32", "BF16", ..."""
        return next(name for name, dtype in _SAVED_DTYPES.items() if dtype == self.dtype)


def _current(name: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{module}.{_OLD_NAMES[parameter]}" if parameter in _OLD_NAMES and module.endswith("LayerNorm") else name


def write_tensors(directory: Path, tensors: Mapping[str, Tensor], raw: Mapping[str, Any], max_shard_bytes: int) -> None:
    """The tensors and then config.json; the directory is made."""
    make_directory(directory)
    write_shards(directory, tensors, max_shard_bytes)
    write_json(directory / "config.json", raw)


def write_shards(directory: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """The tensors in as many files as they need: all are written beside, then renamed; files of an older save go last.

    Raises ModelUnavailable, with nothing left behind, when they cannot be written (a full disk).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    shards = list(_shards(tensors, max_shard_bytes))
    count = len(shards)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    names = names if count > 1 else ["model.safetensors"]
    partials = [directory / f".{name}.partial" for name in names]
    try:
        for partial, shard in zip(partials, shards, strict=True):
            save_file({key: _alone(tensors[key]) for key in shard}, partial, metadata={"format": "pt"})
            sync(partial)
    except BaseException as error:
        for partial in partials:
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError | SafetensorError):
            raise
        raise ModelUnavailable(f"{directory} could not be written: {error}", "make room there, and try again") from None
    for partial, name in zip(partials, names, strict=True):  # only now: a crash before leaves the older save whole
        partial.replace(directory / name)
    sync(directory)
    index = directory / "model.safetensors.index.json"
    keep = {*names}
    if count > 1:
        places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        write_json(index, {"metadata": {"total_size": sum(map(_size_bytes, tensors.values()))}, "weight_map": places})
        keep.add(index.name)
    for old in (*directory.glob("model-*-of-*.safetensors"), directory / "model.safetensors", index):
        if old.name not in keep:
            old.unlink(missing_ok=True)


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """One safetensors file; it appears whole or not at all. Raises ModelUnavailable when it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = path.with_name(f".{path.name}.partial")
    try:
        save_file(dict(tensors), partial, metadata={"format": "pt", **metadata})
        settle(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, OSError | SafetensorError):
            raise
        raise ModelUnavailable(f"{path} could not be written: {error}", "make room there, and try again") from None


def _alone(tensor: Tensor) -> Tensor:
    """Contiguous, and the only one in its storage, as the format wants it."""
    whole = tensor.contiguous()
    return whole if whole.untyped_storage().nbytes() == _size_bytes(whole) else whole.clone()


def _shards(tensors: Mapping[str, Tensor], max_bytes: int) -> Iterator[list[str]]:
    shard: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if shard and size + _size_bytes(tensor) > max_bytes:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += _size_bytes(tensor)
    yield shard


def _size_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
