"""A run on disk: checkpoints that appear whole or not at all, with all that a run needs to go on as if nothing had been.

`RUN/step-00000200/`: a checkpoint directory like any other (`lm.load`), or an adapter's as PEFT reads it, and in `training/` the
moments of the optimizer and what else is trained as safetensors, the rest as JSON. Or all tensors in parts, as the processes have
them (`parallel_checkpoint`); what a run leaves at its end is whole. Generators are torch's own and the source's;
nothing else draws.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from openbook.core.errors import ModelUnavailable
from openbook.core.faults import fault_point
from openbook.core.paths import sync
from openbook.lm.adapters.files import save_adapter
from openbook.lm.adapters.slot import find_table
from openbook.lm.families.base import Family
from openbook.lm.load import load_model, save_model
from openbook.lm.state import fill
from openbook.lm.stored import Stored
from openbook.training.loop import Loop
from openbook.training.parallel import is_sharded, spread_as, whole
from openbook.training.sources.step import OwnState

_PREFIX = "step-"
_STATE = "state.json"
_BESIDE = "beside.safetensors"
_PARTS = "training/parts"
_WEIGHTS, _MOMENTS = "weights.", "moments."
"""Before the names of tensors in parts."""


def save(
    loop: Loop[Any],
    run: Path,
    *,
    keep: int = 2,
    best: int | None = None,
    also: Callable[[Path], None] | None = None,
    notes: Mapping[str, Any] | None = None,
    in_parts: bool = False,
) -> Path:
    """The checkpoint of the step that `loop` has done. Of the older ones the last `keep` - 1 stay, and that of step `best`.

    `also` writes what else belongs to a checkpoint (a tokenizer) into it; `notes` are given back by `resume`. Every process calls
    it. It gives its part of what is spread and the first one writes, or it writes its part itself (`in_parts`: then there is no
    whole model in it). OSError or ModelUnavailable where there is no room; then the older ones are as they were.
    """
    folder, ranks = run / f"{_PREFIX}{loop.done:08d}", loop.ranks
    beside = run / f".{folder.name}.part"
    write = _write_parts if in_parts else _write_whole
    try:
        if ranks.is_first:
            shutil.rmtree(beside, ignore_errors=True)
            (beside / "training").mkdir(parents=True)
        write(loop, beside)
        _write_own(loop, beside)
        if ranks.is_first:
            _finish(loop, beside, folder, also, notes)
    finally:
        if ranks.is_first:
            shutil.rmtree(beside, ignore_errors=True)
    for old in checkpoints(run)[:-keep] if ranks.is_first else ():
        if best is None or old.name != f"{_PREFIX}{best:08d}":
            _remove(old)
    return folder


def _write_whole(loop: Loop[Any], beside: Path) -> None:
    """The first process does, of what all have."""
    moments = {name: whole(one) for name, one in loop.optimizers.state().items()}
    if loop.ranks.pipeline is not None:
        moments = loop.ranks.pipeline.gathered(moments)
    averages = None if loop.ema is None else {name: whole(one) for name, one in loop.ema.state().items()}
    with whole_model(loop) as model:
        if not loop.ranks.is_first:
            return
        save_trained(model, beside)
        inner = beside / "training"
        fault_point("train.saving")
        _write(inner / "optimizer.safetensors", moments)
        if adapter_names(model):
            _write(inner / "trained.safetensors", _trained(model))
        if loop.beside is not None:
            _write(inner / _BESIDE, _trained(loop.beside))
        if averages is not None:
            _write(inner / "ema.safetensors", averages)


def _write_parts(loop: Loop[Any], beside: Path) -> None:
    from openbook.training.parallel_checkpoint import write_parts

    moments = {f"{_MOMENTS}{name}": one for name, one in loop.optimizers.state().items()}
    if loop.ranks.is_first:
        (beside / _PARTS).mkdir()
    loop.ranks.wait()
    fault_point("train.saving")
    write_parts(beside / _PARTS, {f"{_WEIGHTS}{name}": one for name, one in loop.model.named_parameters()} | moments)


def _write_own(loop: Loop[Any], beside: Path) -> None:
    """The state of the source of each process but the first one's, where they differ; all of them call it."""
    if loop.ranks.world_size == 1 or not isinstance(loop.source, OwnState):
        return
    if loop.ranks.any(not loop.source.is_shared()):
        loop.ranks.wait()
        if loop.ranks.rank:
            (beside / "training" / _own(loop)).write_text(json.dumps(loop.source.state()), "utf-8")
        loop.ranks.wait()


def _own(loop: Loop[Any]) -> str:
    return f"source-{loop.ranks.rank}.json"


def _finish(
    loop: Loop[Any],
    beside: Path,
    folder: Path,
    also: Callable[[Path], None] | None,
    notes: Mapping[str, Any] | None,
) -> None:
    """What only the first process writes; then it has its name."""
    if also is not None:
        also(beside)
    state = beside / "training" / _STATE
    state.write_text(json.dumps(_said(loop, notes)), "utf-8")
    for path in (state, state.parent, beside):
        sync(path)
    _remove(folder)
    fault_point("train.saving")
    beside.rename(folder)
    fault_point("train.saved")
    sync(folder.parent)


def checkpoints(run: Path) -> list[Path]:
    """Those that are whole, oldest first."""
    return sorted(path for path in run.glob(f"{_PREFIX}*") if (path / "training" / _STATE).is_file())


def is_in_parts(folder: Path) -> bool:
    """Whether its tensors are as the processes had them, without a whole model."""
    return (folder / _PARTS).is_dir()


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix(_PREFIX))


def resume(loop: Loop[Any], folder: Path) -> dict[str, Any]:
    """`loop` as it was when `save` wrote `folder`; the notes of then. ModelUnavailable for what another model, optimizer or
    source has left.
    """
    try:
        inner = folder / "training"
        said = json.loads((inner / _STATE).read_text("utf-8"))
        moments = _moments(loop, folder)
        random = torch.frombuffer(bytearray(base64.b64decode(said["random"])), dtype=torch.uint8)
        fill_model(loop.model, folder)
        if loop.beside is not None:
            _put(loop.beside, load_file(inner / _BESIDE))
        loop.optimizers.resume(moments)
        own = inner / _own(loop)
        loop.source.resume(json.loads(own.read_text("utf-8")) if own.is_file() else said["source"])
        if loop.ema is not None:
            loop.ema.resume(load_file(inner / "ema.safetensors"))
        if loop.scaler is not None:
            loop.scaler.resume(said["scaler"])
        loop.done = int(said["done"])
        torch.set_rng_state(random)
        notes: dict[str, Any] = said.get("notes", {})
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(
            f"{folder} is no checkpoint of this run: {error!r}", "start anew in another folder"
        ) from None
    return notes


def _moments(loop: Loop[Any], folder: Path) -> dict[str, Tensor]:
    """Of the optimizer; where they are in parts, the parts that belong here."""
    if not is_in_parts(folder):
        return load_file(folder / "training" / "optimizer.safetensors")
    from openbook.training.parallel_checkpoint import read_parts, shapes_of

    parameters, found = dict(loop.model.named_parameters()), dict[str, Tensor]()
    for name, shape in shapes_of(folder / _PARTS).items():
        owner, _, kind = name.removeprefix(_MOMENTS).rpartition("/")
        if name.startswith(_MOMENTS) and owner in parameters:
            is_number = kind == "step"
            found[name] = torch.zeros(()) if is_number else torch.zeros_like(parameters[owner], dtype=torch.float32)
            if not is_number and shape != parameters[owner].shape:
                raise KeyError(f"{name} has the shape {shape}")
    read_parts(folder / _PARTS, found)
    return {name.removeprefix(_MOMENTS): one for name, one in found.items()}


def fill_model(model: Family, folder: Path) -> None:
    """What is trained, as it is in `folder`."""
    if is_in_parts(folder):
        from openbook.training.parallel_checkpoint import read_parts

        read_parts(folder / _PARTS, {f"{_WEIGHTS}{name}": one for name, one in model.named_parameters()})
    elif adapter_names(model):
        _put(model, load_file(folder / "training" / "trained.safetensors"))
    elif is_sharded(model):
        from openbook.training.parallel_fsdp import plain_twin, put

        twin = plain_twin(model)
        fill(twin, Stored(folder))
        put(model, twin)
    else:
        fill(model, Stored(folder))


@contextmanager
def whole_model(loop: Loop[Any]) -> Iterator[Family]:
    """In the first process a model that can be saved; another one has a part, or nothing. Every one has to ask for it."""
    if not is_sharded(loop.model):
        yield loop.model
        return
    from openbook.training.parallel_fsdp import gathered_model, unsharded

    if adapter_names(loop.model):
        with unsharded(loop.model):
            yield loop.model
    else:
        yield gathered_model(loop.model, loop.ranks)


def save_trained(model: Family, directory: Path) -> None:
    """The model as transformers reads it, or the adapter that is trained on it, as PEFT does."""
    names = adapter_names(model)
    if not names:
        save_model(model, directory)
    for name in names:
        save_adapter(model, name, directory)


def adapter_names(model: Family) -> list[str]:
    table = find_table(model)
    return [] if table is None else list(table.settings)


def trained_model(run: Path) -> Any:
    """The model of the newest checkpoint."""
    return load_model(checkpoints(run)[-1])


def clear(run: Path) -> None:
    """Removes what a process that was killed while it wrote or removed has left."""
    for left in run.glob(f".{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _said(loop: Loop[Any], notes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "done": loop.done,
        "source": loop.source.state(),
        "random": base64.b64encode(torch.get_rng_state().numpy().tobytes()).decode(),
        "scaler": None if loop.scaler is None else loop.scaler.state(),
        "notes": dict(notes or {}),
    }


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach().contiguous() for name, one in model.named_parameters() if one.requires_grad}


@torch.no_grad()
def _put(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """KeyError where one is missing."""
    for name, one in model.named_parameters():
        if one.requires_grad:
            one.copy_(spread_as(tensors[name].to(one.dtype), one))


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: one.contiguous() for name, one in tensors.items()}, path)
    sync(path)


def _remove(folder: Path) -> None:
    """Under its name it is whole or not there."""
    if folder.exists():
        going = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(going)
        fault_point("train.removing")
        shutil.rmtree(going)
