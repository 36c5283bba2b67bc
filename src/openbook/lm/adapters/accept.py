"""What a file of an adapter holds, held against its config and against the model, before memory is spent on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.plan import tied_modules
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings, PrefixSettings, PromptSettings, Settings
from openbook.lm.adapters.slot import Table, module_at
from openbook.lm.adapters.tensors import BOTTLENECK, ENDS, PREFIX, VIRTUAL, A, owners, split
from openbook.lm.families.base import Family

OTHER_BASE = "load it on the base that it was trained on"


def check_sizes(table: Table, settings: Settings, tensors: dict[str, Tensor], source: Path) -> None:
    """ModelUnavailable where the config asks for more or less than the file holds, before memory is spent on it."""
    is_virtual = isinstance(settings, PrefixSettings | PromptSettings)
    needed = (
        {VIRTUAL} if is_virtual else {key.removesuffix(split(key)[1]) + A for key in tensors if split(key)[1] in ENDS}
    )
    if isinstance(settings, BottleneckSettings):
        needed = {key.removesuffix(split(key)[1]) + f"{BOTTLENECK}down" for key in tensors}
    if missing := sorted(needed - set(tensors)):
        raise ModelUnavailable(f"{source} lacks {missing[0]} and {len(missing) - 1} more", "copy the adapter again")
    for key, value in tensors.items():
        module, end = split(key)
        match settings:
            case LoraSettings() if end == A:
                said = settings.rank_of(*owners(table.places, module), module)
            case BottleneckSettings() if end == f"{BOTTLENECK}down":
                said = settings.size
            case PrefixSettings() | PromptSettings() if key == VIRTUAL:
                said = settings.num_virtual_tokens
            case _:
                continue
        if value.ndim != 2 or len(value) != said:
            raise ModelUnavailable(
                f"{source}: {key} is {tuple(value.shape)}, its config says {said} rows", "copy the adapter again"
            )


def with_modules(
    model: Family, table: Table, settings: Settings, tensors: dict[str, Tensor], source: Path
) -> tuple[Settings, dict[str, Tensor]]:
    """The settings with the modules that the file has tensors for, by our names, and the tensors of the adapter alone."""
    if not isinstance(settings, LoraSettings | BottleneckSettings):
        return settings, tensors
    own: dict[str, None] = {}
    whole: dict[str, None] = {}
    kept: dict[str, Tensor] = {}
    for key, value in tensors.items():
        module, end = split(key)
        found = owners(table.places, module.removesuffix(".base_layer"))
        if not found:
            raise ModelUnavailable(f"{source} has {key}, which belongs to no module of this model", OTHER_BASE)
        if module.endswith(".base_layer"):
            _check_same(module_at(model, found[0]), end, value, key, source)
            continue
        kept[key] = value
        (own if end in ENDS or end.startswith(BOTTLENECK) else whole).update(dict.fromkeys(found))
    if not own and not whole:
        raise ModelUnavailable(f"{source} has no tensors of an adapter", "copy the adapter again")
    if isinstance(settings, BottleneckSettings):
        return replace(settings, target_modules=tuple(own)), kept
    ties = tied_modules(model, table)
    for name in whole:
        group = sorted(ties.get(name, {name}))
        values = [kept.get(f"{PREFIX}{table.places[one].theirs}.weight") for one in group]
        if len(group) > 1 and (values[0] is None or values[1] is None or not torch.equal(values[0], values[1])):
            raise ModelUnavailable(
                f"{source} trains {name} apart, but here {' and '.join(group)} are one tensor",
                "train it with ensure_weight_tying, or on a base whose weights are not tied",
            )
    return replace(settings, target_modules=tuple(own), trained_modules=tuple(whole)), kept


def _check_same(module: nn.Module, end: str, value: Tensor, key: str, source: Path) -> None:
    """PEFT also saves the base's own table beside a low-rank change of it: here it must be that of the base."""
    parameter = dict(module.named_parameters(recurse=False)).get(end)
    if parameter is None or parameter.shape != value.shape or not torch.equal(parameter.float(), value):
        raise ModelUnavailable(f"{source}: {key} is not the base's", OTHER_BASE)
