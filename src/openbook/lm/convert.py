"""From one form of a checkpoint to another: safetensors, GGUF, and the pickles of old ones.

Unpickling happens in a process with limits that is allowed to make tensors and nothing else (torch's `weights_only`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.checkpoint import has_weights
from openbook.lm.disk import copy_file, make_directory

if TYPE_CHECKING:
    from openbook.lm.gguf.write import GgufType

Form = Literal["safetensors", "gguf"]
_CARRIED = ("*.json", "*.txt", "*.model", "*.jinja")
_NOT_CARRIED = ("config.json", "openbook.json")
_UNPICKLE_S = 1_800.0
GGUF_DTYPES: dict[str, GgufType] = {
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "q8_0": "q8_0",
    "q4_0": "q4_0",
}
"""What the option is called -> what the format calls it."""


class Converted(NamedTuple):
    """What was written, its bytes, and notes on what is not as it was asked for."""

    path: Path
    bytes: int
    notes: list[str]


def convert(source: Path, out: Path, form: Form, dtype: str | None = None) -> Converted:
    """Writes the model of `source` (a directory, or a GGUF file) to `out`: a directory, or a GGUF file (NAME.gguf in `out` where
    it has no such name). `dtype` None: as it is stored; as GGUF float16.

    Raises UsageError when `out` exists and is not empty, or is named as another form, and for GGUF out of GGUF;
    ModelUnavailable for what cannot be read or held.
    """
    from openbook.lm.load import load_model

    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name a place that is not there yet")
    if form == "gguf":
        if source.is_file():
            raise UsageError(
                f"{source} is a GGUF file already", "make safetensors of it first: openbook model convert FILE.gguf DIR"
            )
        return _to_gguf(source, out, dtype)
    if out.suffix == ".gguf":
        raise UsageError(f"{out} is the name of a GGUF file, safetensors need a directory", "add --to gguf")
    _float(dtype)  # before anything is written
    if source.is_dir() and not has_weights(source):
        notes = unpickle(source, out)
        if dtype is not None:
            _resaved(out, dtype)
        return Converted(out, _size(out), notes)
    model = load_model(source, dtype=_float(dtype))
    save_with_tokenizer(model, source, out)
    return Converted(out, _size(out), [])


def _to_gguf(source: Path, out: Path, dtype: str | None) -> Converted:
    from openbook.lm.gguf.metadata import context_length
    from openbook.lm.gguf.write import check_writable, write_gguf
    from openbook.lm.load import load_model, open_checkpoint

    kind = GGUF_DTYPES.get(dtype or "float16")
    if kind is None:
        raise UsageError(f"dtype {dtype!r} is not written as GGUF", f"known are {', '.join(GGUF_DTYPES)}")
    path = out if out.suffix == ".gguf" else out / f"{source.resolve().name}.gguf"
    check_writable(open_checkpoint(source)[0])
    model = load_model(source)
    written = write_gguf(model, source, path, kind, name=source.resolve().name)
    notes = (
        [f"{len(written.kept)} tensors are no multiple of 32 wide and stay f16, first {written.kept[0]}"]
        if written.kept
        else []
    )
    if (context := context_length(model.config)) < model.config.max_seq_len:
        notes.append(
            f"llama.cpp has no sliding window here: its context is set to {context:,} tokens, up to which it is exact"
        )
    return Converted(path, written.bytes, notes)


def save_with_tokenizer(model: Any, source: Path, out: Path) -> None:
    """The model in `out`, with the tokenizer of `source` (a directory, or a GGUF file)."""
    from openbook.lm.load import save_model

    save_model(model, out)
    if source.is_file():
        from openbook.lm.gguf.read import GgufFile
        from openbook.lm.gguf.vocabulary import write_tokenizer

        write_tokenizer(GgufFile(source).keys_read, out)
        return
    copy_companions(source, out)


def copy_companions(source: Path, out: Path) -> None:
    """The tokenizer and generation settings of a checkpoint directory, as they are."""
    for pattern in _CARRIED:
        for path in source.glob(pattern):
            if path.name not in _NOT_CARRIED and not path.name.endswith(".index.json"):
                copy_file(path, out / path.name)


def _resaved(directory: Path, dtype: str) -> None:
    from openbook.lm.load import load_model, save_model

    save_model(load_model(directory, dtype=_float(dtype)), directory)


def _float(dtype: str | None) -> Any:
    from openbook.lm.load import DTYPES

    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not written as safetensors", f"known are {', '.join(DTYPES)}")
    return dtype


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def unpickle(source: Path, out: Path) -> list[str]:
    """Writes `pytorch_model*.bin` of `source` as safetensors, with what belongs to it.

    The pickles are read by another process, which may take thrice their size in memory, and may make nothing but tensors.
    """
    from openbook.core.sandbox.failure import WorkerFailure
    from openbook.core.sandbox.pool import WorkerPool

    files = sorted(source.glob("pytorch_model*.bin"))
    if not files:
        raise ModelUnavailable(
            f"{source} has no weights", "name a directory with model.safetensors or pytorch_model.bin"
        )
    make_directory(out)
    limit = 3 * sum(path.stat().st_size for path in files) + (4 << 30)
    tasks = [{"files": [str(path) for path in files], "out": str(out)}]
    with WorkerPool("openbook.lm.convert:unpickle_in_worker", memory_bytes=limit, timeout_s=_UNPICKLE_S) as pool:
        for _, result in pool.map(tasks):
            if isinstance(result, WorkerFailure):
                shutil.rmtree(out)
                raise ModelUnavailable(
                    # What torch says is left out: it advises to read the file without protection.
                    f"{files[0].name} of {source} holds something else than tensors or is broken ({result.error or result.kind})",
                    "do not use it; ask for safetensors",
                )
    for path in (source / "config.json", *_companions(source)):
        if path.is_file():
            copy_file(path, out / path.name)
    return ["the pickle was read in a process of its own, tensors only"]


def _companions(source: Path) -> Iterator[Path]:
    for pattern in _CARRIED:
        yield from (path for path in source.glob(pattern) if not path.name.endswith(".index.json"))


def unpickle_in_worker(task: dict[str, Any]) -> dict[str, Any]:
    """Runs in the process with limits: {"files", "out"} -> {"tensors": how many}."""
    import torch

    from openbook.lm.stored import write_shards

    tensors: dict[str, torch.Tensor] = {}
    for path in task["files"]:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        loaded = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
        if not isinstance(loaded, dict) or not all(isinstance(one, torch.Tensor) for one in loaded.values()):
            raise ModelUnavailable(f"{path} holds no table of tensors", "ask for safetensors")
        tensors |= {str(name): tensor.detach() for name, tensor in loaded.items()}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.untyped_storage().data_ptr() in seen:
            tensors[name] = tensor.clone()  # a tied head: safetensors holds no tensor twice
        seen.add(tensor.untyped_storage().data_ptr())
    write_shards(Path(task["out"]), tensors)
    return {"tensors": len(tensors)}
