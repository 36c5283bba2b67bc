"""Adapters on a model: `attach`, `activate`, `detach`, and what of it is trained.

    attach(model, LoraSettings(r=8), "style")    # the base is frozen, "style" is active
    for p in adapter_parameters(model, "style"): ...
    activate(model, None)                        # the base again, to the bit
    detach(model, "style")                       # as if it had never been there

Several adapters sit on one base: one is active, or `Batch.adapters` gives every sequence its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.fresh import check_takes, fresh_changes, fresh_virtual
from openbook.lm.adapters.origin import origin_of
from openbook.lm.adapters.packed_base import PackedBase
from openbook.lm.adapters.places import places_of
from openbook.lm.adapters.settings import BottleneckSettings, LoraSettings, Settings
from openbook.lm.adapters.slot import TABLE, Table, find_table, remove_slot, slot_at, slots_of
from openbook.lm.families.base import Family
from openbook.lm.nn.cross import CrossAttention
from openbook.lm.quantization.nf4 import Nf4Linear


class Trainable(NamedTuple):
    """`trained` of `total` parameters; printed with the share. Packed bases count the weights that they stand for."""

    trained: int
    total: int

    @property
    def share(self) -> float:
        return self.trained / self.total

    def __str__(self) -> str:
        return f"{self.trained:,} of {self.total:,} parameters are trained ({100 * self.share:.2g} %)"


def attach(model: Family, settings: Settings, name: str = "default", *, seed: int = 0) -> Trainable:
    """Puts a fresh adapter on the model and makes it the active one; the base is frozen.

    Raises UsageError for a name that is taken or cannot be one, for targets that fit nothing, for weights that are tied,
    and for a model that cannot take this kind.
    """
    _check_name(model, name)
    check_takes(model, settings)
    had_table = find_table(model) is not None
    table = table_of(model)
    generator = torch.Generator().manual_seed(seed)
    try:
        if isinstance(settings, LoraSettings | BottleneckSettings):
            changes = fresh_changes(model, table, settings, generator)
            virtual = None
        else:
            changes, virtual = {}, fresh_virtual(model, settings, generator)
    except UsageError:
        if not had_table:
            _remove_table(model)
        raise
    model.requires_grad_(False)
    for ours, change in changes.items():
        slot_at(model, ours, table.selection).changes[name] = change.train(model.training)
    if virtual is not None:
        table.virtual[name] = virtual.to(model.device)
    table.settings[name] = settings
    if why := _why_alone(model, table, name):
        table.alone[name] = why
    activate(model, name)
    for parameter in adapter_parameters(model, name):
        parameter.requires_grad_(True)
    return trainable(model)


def activate(model: Family, name: str | None) -> None:
    """Uses this adapter from now on; None: the base alone. UsageError lists the adapters there are."""
    if name is None and find_table(model) is None:
        return
    table = known(model, name)
    table.selection.active = name


def adapter_places(model: Family, names: Sequence[str | None]) -> Tensor:
    """(S,) for `Batch.adapters`: sequence s uses `names[s]`, None the base. UsageError for an adapter that is not there."""
    table = known(model, *names)
    places = {name: place for place, name in enumerate(table.settings)}
    return torch.tensor([-1 if name is None else places[name] for name in names], device=model.device)


def detach(model: Family, name: str) -> None:
    """Takes an adapter off; what it had learned is gone. With the last one, the model is as it was loaded."""
    table = known(model, name)
    for ours, slot in slots_of(model):
        if name in slot.changes:
            del slot.changes[name]
        if not len(slot.changes):
            remove_slot(model, ours)
    if name in table.virtual:
        del table.virtual[name]
    del table.settings[name]
    table.alone.pop(name, None)
    if table.selection.active == name:
        table.selection.active = None
    if not table.settings and not any(isinstance(module, Nf4Linear | PackedBase) for module in model.modules()):
        _remove_table(model)


def adapter_parameters(model: Family, name: str) -> list[nn.Parameter]:
    """The parameters of an adapter, each once: what an optimizer gets."""
    table = known(model, name)
    parts: list[nn.Module] = [slot.changes[name] for _, slot in slots_of(model) if name in slot.changes]
    parts += [table.virtual[name]] if name in table.virtual else []
    return list(dict.fromkeys(parameter for part in parts for parameter in part.parameters()))


def trainable(model: Family) -> Trainable:
    """How many parameters are trained, of base and adapters together. Tied weights count once."""
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    packed = sum(module.shape[0] * module.shape[1] for module in model.modules() if isinstance(module, Nf4Linear))
    return Trainable(count, packed + sum(parameter.numel() for parameter in model.parameters()))


def table_of(model: Family) -> Table:
    """The table of a model, made (with the hash of the base) if there is none."""
    if (found := find_table(model)) is not None:
        return found
    table = bare_table(model)
    setattr(model, TABLE, table)
    table.hook = model.register_forward_pre_hook(table.before, with_kwargs=True)
    return table


def bare_table(model: Family) -> Table:
    """What the table of a plain model would be; the model is not touched."""
    return Table(places_of(model), origin_of(model)).train(model.training)


def _why_alone(model: Family, table: Table, name: str) -> str:
    """Why all sequences of a batch must use this adapter if one does; empty where each can have its own."""
    if name in table.virtual:
        return "stands before all sequences"
    if any(isinstance(module, CrossAttention) for module in model.modules()):
        return "belongs to an encoder-decoder, which has two batches of tokens"
    outside = (ours for ours, slot in slots_of(model) if name in slot.changes and "layers" not in ours.split("."))
    return "".join(f"changes {ours}, which does not see every token" for ours in list(outside)[:1])


def _remove_table(model: Family) -> None:
    table = table_of(model)
    assert table.hook is not None
    table.hook.remove()
    delattr(model, TABLE)


def known(model: Family, *names: str | None) -> Table:
    """The table of a model that has these adapters; UsageError lists those there are."""
    table = find_table(model)
    there = sorted(table.settings) if table is not None else []
    for name in names:
        if name is not None and name not in there:
            raise UsageError(f"the model has no adapter {name!r}", f"there are {', '.join(there) or 'none'}")
    if table is None:
        raise UsageError("the model has no adapters", "attach or load one")
    return table


def _check_name(model: Family, name: str) -> None:
    table = find_table(model)
    if table is not None and name in table.settings:
        raise UsageError(f"the model has an adapter {name!r} already", "detach it or choose another name")
    if not re.fullmatch(r"\w[\w-]*", name) or hasattr(nn.ModuleDict, name):
        raise UsageError(f"an adapter cannot be called {name!r}", "use letters, digits, - and _")


@contextmanager
def base_alone(model: Family) -> Iterator[None]:
    """The model without its active adapter while the block runs: a reference that takes no memory."""
    table = find_table(model)
    if table is None:
        yield
        return
    active = table.selection.active
    table.selection.active = None
    try:
        yield
    finally:
        table.selection.active = active
