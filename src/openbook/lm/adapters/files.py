"""Adapters on disk, as PEFT writes them: adapter_config.json and adapter_model.safetensors.

The hash of the base is in the metadata of the tensors (`openbook_base`), where PEFT does not look. A file of PEFT's has
none: then its names and shapes must fit. In reading order: save, load, what is read and checked.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.accept import OTHER_BASE, check_sizes, with_modules
from openbook.lm.adapters.attach import activate, adapter_parameters, attach, bare_table, detach, table_of
from openbook.lm.adapters.fresh import check_takes
from openbook.lm.adapters.lora import Lora
from openbook.lm.adapters.peft_config import from_peft, to_peft
from openbook.lm.adapters.settings import LoraSettings, Settings
from openbook.lm.adapters.slot import Table, Whole, find_table, slots_of
from openbook.lm.adapters.tensors import (
    saved_tensors,
    wanted_tensors,
)
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import make_directory, write_json
from openbook.lm.families.base import Family
from openbook.lm.stored import write_tensor_file

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "openbook_base"


def save_adapter(model: Family, name: str, directory: Path | str) -> None:
    """Writes the adapter as PEFT reads it; each file appears whole or not at all.

    Of a prefix with a network, the keys and values that it makes are saved, as PEFT does. Raises UsageError for an
    adapter that is not there, ModelUnavailable for a place where nothing can be written.
    """
    directory = Path(directory)
    adapter_parameters(model, name)  # refuses an unknown name
    table = table_of(model)
    tensors = saved_tensors(model, table, name)
    said = to_peft(_in_their_names(model, table, name), model.config, model.causal)
    if isinstance(table.settings[name], LoraSettings):
        said["fan_in_fan_out"] = any(place.is_transposed for place in table.places.values())
    make_directory(directory)
    write_tensor_file(directory / TENSORS, tensors, {BASE_KEY: table.origin})
    write_json(directory / CONFIG, said)


def load_adapter(model: Family, directory: Path | str, name: str = "default", *, is_trainable: bool = False) -> str:
    """Puts a saved adapter on the model, makes it the active one, and returns its name.

    Raises ModelUnavailable for files that are missing, broken, of an unknown kind or for another base, before the model
    is changed; UsageError for a name that is taken and for a model that cannot take it.
    """
    directory = Path(directory)
    settings = read_settings(directory)
    check_takes(model, settings)
    tensors, base = _read(directory)
    table = find_table(model) or bare_table(model)
    if base is not None and base != table.origin:
        raise ModelUnavailable(
            f"{directory} was made for the base {base}, this model is the base {table.origin}", OTHER_BASE
        )
    check_sizes(table, settings, tensors, directory)
    settings, tensors = with_modules(model, table, settings, tensors, directory)
    attach(model, settings, name)
    try:
        _fill(model, name, tensors, directory)
    except ModelUnavailable:
        detach(model, name)
        raise
    for parameter in adapter_parameters(model, name):
        parameter.requires_grad_(is_trainable)
    activate(model, name)
    return name


def read_settings(directory: Path) -> Settings:
    """The settings in the directory of an adapter. ModelUnavailable when it is none, or of a kind that is not known."""
    if not directory.is_dir():
        raise ModelUnavailable(
            f"{str(directory)!r} is not a directory",
            f"name the directory of an adapter: {CONFIG} and {TENSORS}",
        )
    path = directory / CONFIG
    if not path.is_file():
        is_model = (directory / "config.json").is_file()
        raise ModelUnavailable(
            f"{directory} has no {CONFIG}" + (": it holds a whole model" if is_model else ""),
            f"name the directory of an adapter: {CONFIG} and {TENSORS}",
        )
    return from_peft(read_json(path), str(path))


def _read(directory: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors by name, float32, and the hash of the base where the file says it."""
    from safetensors import SafetensorError, safe_open

    path = directory / TENSORS
    if not path.exists():
        remedy = "save it again with safe_serialization=True" if (directory / "adapter_model.bin").exists() else ""
        raise ModelUnavailable(f"{directory} has no {TENSORS}", remedy or "copy the adapter again")
    try:
        with safe_open(path, framework="pt") as file:
            base = (file.metadata() or {}).get(BASE_KEY)
            found = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}", "copy the adapter again") from error
    if odd := sorted(key for key, value in found.items() if not bool(torch.isfinite(value).all())):
        raise ModelUnavailable(
            f"{path}: {odd[0]} holds NaN or infinity" + (f", as {len(odd) - 1} more do" if odd[1:] else ""),
            "take an earlier save of the adapter: its training went wrong, or the file is broken",
        )
    old = ".lora_magnitude_vector.weight"
    return {key.removesuffix(".weight") if key.endswith(old) else key: value for key, value in found.items()}, base


@torch.no_grad()
def _fill(model: Family, name: str, tensors: dict[str, Tensor], source: Path) -> None:
    """Copies the tensors into the attached adapter; ModelUnavailable unless they are exactly those that it has."""
    wanted = list(wanted_tensors(model, table_of(model), name))
    if missing := sorted({one.key for one in wanted} - set(tensors)):
        raise ModelUnavailable(f"{source} lacks {missing[0]} and {len(missing) - 1} more", "copy the adapter again")
    if unused := sorted(set(tensors) - {one.key for one in wanted}):
        raise ModelUnavailable(
            f"{source} has {unused[0]}, which its config does not speak of", "copy the adapter again"
        )
    for key, parameter, read in wanted:
        if (got := read(tensors[key])).shape != parameter.shape:
            shapes = f"{tuple(got.shape)}, this model needs {tuple(parameter.shape)}"
            raise ModelUnavailable(f"{source}: {key} is {shapes}", OTHER_BASE)
    for key, parameter, read in wanted:
        parameter.copy_(read(tensors[key]))


def _in_their_names(model: Family, table: Table, name: str) -> Settings:
    """The settings of an adapter with the checkpoint's names, ranks and scales of each module as they are."""
    settings = table.settings[name]
    if not isinstance(settings, LoraSettings):
        return settings
    mine = [(table.places[ours].theirs, slot.changes[name]) for ours, slot in slots_of(model) if name in slot.changes]
    ranks: dict[str, int] = {}
    scales: dict[str, float] = {}
    for theirs, change in mine:
        if isinstance(change, Lora):
            ranks[theirs] = ranks.get(theirs, 0) + len(change.a)
            scales.setdefault(theirs, change.scale)
    factor = math.sqrt if settings.is_rank_stabilized else float
    alphas = {theirs: scales[theirs] * factor(rank) for theirs, rank in ranks.items()}
    return replace(
        settings,
        target_modules=_shortened(list(ranks), table),
        trained_modules=tuple(dict.fromkeys(theirs for theirs, change in mine if isinstance(change, Whole))),
        rank_pattern={theirs: rank for theirs, rank in ranks.items() if rank != settings.r},
        alpha_pattern={theirs: one for theirs, one in alphas.items() if abs(one - settings.alpha) > 1e-9},
    )


def _shortened(chosen: list[str], table: Table) -> tuple[str, ...]:
    """The last parts of the names where these mean the same modules, else the names."""
    ends = dict.fromkeys(one.rpartition(".")[2] for one in chosen)
    meant = {place.theirs for place in table.places.values() if place.theirs.rpartition(".")[2] in ends}
    return tuple(ends) if meant == set(chosen) else tuple(chosen)
