"""Adapters on disk, as PEFT writes them: adapter_config.json and adapter_model.safetensors.

The hash of the base is in the metadata of the tensors (`openbook_base`), where PEFT does not look. A file of PEFT's has
none: then its names and shapes must fit. In reading order: save, load, names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.attach import (
    activate,
    adapter_parameters,
    attach,
    bare_table,
    check_takes,
    detach,
    slots_of,
    table_of,
)
from openbook.lm.adapters.lora import Lora
from openbook.lm.adapters.peft_config import from_peft, to_peft
from openbook.lm.adapters.plan import targets_of, tied_modules
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings, Settings
from openbook.lm.adapters.slot import Table, Whole, find_table
from openbook.lm.adapters.virtual import Virtual
from openbook.lm.checkpoint import read_json
from openbook.lm.families.base import Family
from openbook.lm.stored import write_json

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "openbook_base"
PREFIX = "base_model.model."
VIRTUAL = "prompt_embeddings"
LORA_ENDS = {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
BOTTLENECK_ENDS = {
    "down": "bottleneck_down.weight",
    "down_bias": "bottleneck_down.bias",
    "up": "bottleneck_up.weight",
    "up_bias": "bottleneck_up.bias",
}
_OTHER_BASE = "load it on the base that it was trained on"


def save_adapter(model: Family, name: str, directory: Path | str) -> None:
    """Writes the adapter as PEFT reads it; each file appears whole or not at all.

    Of a prefix with a network, the keys and values that it makes are saved, as PEFT does. Raises UsageError for an
    adapter that is not there.
    """
    from safetensors.torch import save_file

    directory = Path(directory)
    adapter_parameters(model, name)  # refuses an unknown name
    table = table_of(model)
    tensors = {key: value.detach().clone() for key, value in _tensors(model, table, name)}
    said = to_peft(_in_their_names(model, table, name), model.config, model.causal)
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{TENSORS}.partial"
    save_file(tensors, partial, metadata={"format": "pt", BASE_KEY: table.origin})
    partial.replace(directory / TENSORS)
    write_json(directory / CONFIG, said)


def load_adapter(model: Family, directory: Path | str, name: str = "default", *, is_trainable: bool = False) -> str:
    """Puts a saved adapter on the model, makes it the active one, and returns its name.

    Raises ModelUnavailable for files that are missing, broken, of an unknown kind or for another base, before the model
    is changed; UsageError for a name that is taken and for a model that cannot take it.
    """
    directory = Path(directory)
    settings = from_peft(read_json(directory / CONFIG), str(directory / CONFIG))
    check_takes(model, settings)
    tensors, base = _read(directory)
    table = find_table(model) or bare_table(model)
    if base is not None and base != table.origin:
        raise ModelUnavailable(
            f"{directory} was made for the base {base}, this model is the base {table.origin}", _OTHER_BASE
        )
    settings, tensors = _with_modules(model, table, settings, tensors, directory)
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
    old = ".lora_magnitude_vector.weight"
    return {key.removesuffix(".weight") if key.endswith(old) else key: value for key, value in found.items()}, base


def _with_modules(
    model: Family, table: Table, settings: Settings, tensors: dict[str, Tensor], source: Path
) -> tuple[Settings, dict[str, Tensor]]:
    """The settings with the modules that the file has tensors for, by our names, and the tensors of the adapter alone."""
    if not isinstance(settings, LoraSettings | BottleneckSettings):
        return settings, tensors
    ours = {target.theirs: target for target in targets_of(model, table)}
    own: dict[str, None] = {}
    whole: dict[str, None] = {}
    kept: dict[str, Tensor] = {}
    for key, value in tensors.items():
        module, end = _split(key)
        of_base = module.endswith(".base_layer")
        target = ours.get(module.removesuffix(".base_layer"))
        if target is None:
            raise ModelUnavailable(f"{source} has {key}, which belongs to no module of this model", _OTHER_BASE)
        if of_base:
            _check_same(target.module, end, value, key, source)
            continue
        kept[key] = value
        (own if end in (*LORA_ENDS.values(), *BOTTLENECK_ENDS.values()) else whole)[target.ours] = None
    if not own and not whole:
        raise ModelUnavailable(f"{source} has no tensors of an adapter", "copy the adapter again")
    if isinstance(settings, BottleneckSettings):
        return replace(settings, target_modules=tuple(own)), kept
    ties = tied_modules(model, table)
    for name in whole:
        group = sorted(ties.get(name, {name}))
        values = [kept.get(f"{PREFIX}{table.names[one]}.weight") for one in group]
        if any(
            value is None or not torch.equal(value, kept[f"{PREFIX}{table.names[name]}.weight"]) for value in values
        ):
            raise ModelUnavailable(
                f"{source} trains {name} apart, but here {' and '.join(group)} are one tensor",
                "train it with ensure_weight_tying, or on a base whose weights are not tied",
            )
    return replace(settings, target_modules=tuple(own), trained_modules=tuple(whole)), kept


def _check_same(module: torch.nn.Module, end: str, value: Tensor, key: str, source: Path) -> None:
    """PEFT also saves the base's own table beside a low-rank change of it: here it must be that of the base."""
    parameter = dict(module.named_parameters(recurse=False)).get(end)
    if parameter is None or parameter.shape != value.shape or not torch.equal(parameter.float(), value):
        raise ModelUnavailable(f"{source}: {key} is not the base's", _OTHER_BASE)


@torch.no_grad()
def _fill(model: Family, name: str, tensors: dict[str, Tensor], source: Path) -> None:
    """Copies the tensors into the attached adapter; ModelUnavailable unless they are exactly those that it has."""
    wanted = dict(_tensors(model, table_of(model), name))
    if missing := sorted(set(wanted) - set(tensors)):
        raise ModelUnavailable(f"{source} lacks {missing[0]} and {len(missing) - 1} more", "copy the adapter again")
    if unused := sorted(set(tensors) - set(wanted)):
        raise ModelUnavailable(
            f"{source} has {unused[0]}, which its config does not speak of", "copy the adapter again"
        )
    for key, place in wanted.items():
        if place.shape != tensors[key].shape:
            got, want = tuple(tensors[key].shape), tuple(place.shape)
            raise ModelUnavailable(f"{source}: {key} is {got}, this model needs {want}", _OTHER_BASE)
    for key, place in wanted.items():
        place.copy_(tensors[key])


def _tensors(model: Family, table: Table, name: str) -> Iterator[tuple[str, Tensor]]:
    """(PEFT's name, the parameter) of everything that is saved of an adapter."""
    if name in table.virtual:
        virtual = table.virtual[name]
        assert isinstance(virtual, Virtual)
        yield VIRTUAL, virtual.table()
        return
    for ours, slot in slots_of(model):
        if name not in slot.changes:
            continue
        change, where = slot.changes[name], f"{PREFIX}{table.names[ours]}"
        if isinstance(change, Whole):
            yield from ((f"{where}.{own}", value) for own, value in change.module.named_parameters(recurse=False))
        else:
            ends = LORA_ENDS if isinstance(change, Lora) else BOTTLENECK_ENDS
            yield from ((f"{where}.{ends[own]}", value) for own, value in change.named_parameters())


def _in_their_names(model: Family, table: Table, name: str) -> Settings:
    """The settings of an adapter with the checkpoint's names, ranks and scales of each module as they are."""
    settings = table.settings[name]
    if not isinstance(settings, LoraSettings | BottleneckSettings):
        return settings
    mine = [(table.names[ours], slot.changes[name]) for ours, slot in slots_of(model) if name in slot.changes]
    own = [theirs for theirs, change in mine if not isinstance(change, Whole)]
    if isinstance(settings, BottleneckSettings):
        return replace(settings, target_modules=_shortened(own, table))
    names = {theirs: ours for ours, theirs in table.names.items()}
    ranks = {one: settings.rank_of(names[one], one) for one in own}
    alphas = {one: settings.alpha_of(names[one], one) for one in own}
    return replace(
        settings,
        target_modules=_shortened(own, table),
        trained_modules=tuple(theirs for theirs, change in mine if isinstance(change, Whole)),
        rank_pattern={one: rank for one, rank in ranks.items() if rank != settings.r},
        alpha_pattern={one: alpha for one, alpha in alphas.items() if alpha != settings.alpha},
    )


def _shortened(chosen: list[str], table: Table) -> tuple[str, ...]:
    """The last parts of the names where these mean the same modules, else the names."""
    ends = dict.fromkeys(one.rpartition(".")[2] for one in chosen)
    meant = [one for one in table.names.values() if one.rpartition(".")[2] in ends]
    return tuple(ends) if sorted(meant) == sorted(chosen) else tuple(chosen)


def _split(key: str) -> tuple[str, str]:
    """(module of the checkpoint, what of it)."""
    name = key.removeprefix(PREFIX)
    for end in (*LORA_ENDS.values(), *BOTTLENECK_ENDS.values()):
        if name.endswith(f".{end}"):
            return name.removesuffix(f".{end}"), end
    module, _, end = name.rpartition(".")
    return module, end
