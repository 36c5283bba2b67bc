"""The tensors of an adapter under PEFT's names, from the model and back onto it.

Where a checkpoint keeps query, key and value as one (GPT-2), PEFT has one low-rank change of the one, and we have three: read,
each gets A and its rows of B; written, A's are stacked and B's stand on a diagonal, of as much more rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.bottleneck import Bottleneck
from openbook.lm.adapters.lora import Lora, dense_weight
from openbook.lm.adapters.places import Place
from openbook.lm.adapters.slot import Slot, Table, Whole, module_at, slots_of
from openbook.lm.adapters.virtual import Virtual
from openbook.lm.families.base import Family

PREFIX = "base_model.model."
VIRTUAL = "prompt_embeddings"
A, B, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
ENDS = (A, B, MAGNITUDE)
BOTTLENECK = "bottleneck_"


class Wanted(NamedTuple):
    """A parameter of the adapter, the name of its tensor, and which part of that tensor it is."""

    key: str
    parameter: Tensor
    read: Callable[[Tensor], Tensor]


def wanted_tensors(model: Family, table: Table, name: str) -> Iterator[Wanted]:
    """Everything that a file must hold for this adapter."""
    if name in table.virtual:
        yield Wanted(VIRTUAL, _virtual(table, name).table(), _as_it_is)
    for ours, change, place in _changes(model, table, name):
        where = f"{PREFIX}{place.theirs}."
        if isinstance(change, Bottleneck):
            yield from (Wanted(f"{PREFIX}{ours}.{BOTTLENECK}{own}", one, _as_it_is) for own, one in _own(change))
        elif isinstance(change, Whole):
            for own, parameter in _own(change.module):
                yield Wanted(where + own, parameter, place.weight if own == "weight" else place.rows)
        elif isinstance(change, Lora):
            yield Wanted(where + A, change.a, _as_it_is)
            yield Wanted(where + B, change.b, place.rows)
            if change.magnitude is not None:
                yield Wanted(where + MAGNITUDE, change.magnitude, place.rows)


@torch.no_grad()
def saved_tensors(model: Family, table: Table, name: str) -> dict[str, Tensor]:
    """What is written for this adapter. UsageError for a part of a module that the checkpoint keeps whole."""
    if name in table.virtual:
        return {VIRTUAL: _virtual(table, name).table().detach().clone()}
    found: dict[str, Tensor] = {}
    together: dict[str, list[tuple[Place, nn.Module, nn.Module]]] = defaultdict(list)
    for ours, change, place in _changes(model, table, name):
        if isinstance(change, Bottleneck):
            found |= {f"{PREFIX}{ours}.{BOTTLENECK}{own}": one.detach().clone() for own, one in _own(change)}
        else:
            together[place.theirs].append((place, change, module_at(model, ours)))
    for theirs, members in together.items():
        members.sort(key=lambda member: member[0].part or (0, 1))
        parts = [place.part for place, _, _ in members]
        if parts != [None] and parts != [(i, len(parts)) for i in range(len(parts))]:
            raise UsageError(
                f"the checkpoint keeps {theirs} as one, and {name!r} changes a part of it only",
                f"adapt all of it: target {theirs.rpartition('.')[2]!r}",
            )
        saved = _saved_whole(members) if isinstance(members[0][1], Whole) else _saved_low_rank(members)
        found |= {f"{PREFIX}{theirs}.{end}": value.clone() for end, value in saved.items()}
    return found


def _saved_whole(members: list[tuple[Place, nn.Module, nn.Module]]) -> dict[str, Tensor]:
    copies = [dict(_own(change.module)) for _, change, _ in members if isinstance(change, Whole)]
    saved = {own: torch.cat([copy[own] for copy in copies]) for own in copies[0]}
    is_transposed = members[0][0].is_transposed
    return {own: one.t().contiguous() if is_transposed and one.ndim == 2 else one for own, one in saved.items()}


def _saved_low_rank(members: list[tuple[Place, nn.Module, nn.Module]]) -> dict[str, Tensor]:
    """Scales that differ go into B, so that one holds for all."""
    changes = [(change, base) for _, change, base in members if isinstance(change, Lora)]
    first = changes[0][0].scale
    blocks = [change.b * (change.scale / first) for change, _ in changes]
    saved = {A: torch.cat([change.a for change, _ in changes]), B: torch.block_diag(*blocks)}  # type: ignore[no-untyped-call]
    if any(change.magnitude is not None for change, _ in changes):
        saved[MAGNITUDE] = torch.cat(
            [dense_weight(base).norm(dim=1) if one.magnitude is None else one.magnitude for one, base in changes]
        )
    return saved


def split(key: str) -> tuple[str, str]:
    """(module, what of it) of a tensor's name."""
    name = key.removeprefix(PREFIX)
    for end in ENDS:
        if name.endswith(f".{end}"):
            return name.removesuffix(f".{end}"), end
    module, _, end = name.rpartition(".")
    return module, end


def owners(places: Mapping[str, Place], module: str) -> list[str]:
    """Our modules of a name in a file: the checkpoint's, or ours."""
    found = [ours for ours, place in places.items() if place.theirs == module]
    return found or ([module] if module in places else [])


def _changes(model: Family, table: Table, name: str) -> Iterator[tuple[str, nn.Module, Place]]:
    for ours, slot in slots_of(model):
        assert isinstance(slot, Slot)
        if name in slot.changes:
            yield ours, slot.changes[name], table.places[ours]


def _virtual(table: Table, name: str) -> Virtual:
    virtual = table.virtual[name]
    assert isinstance(virtual, Virtual)
    return virtual


def _own(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return module.named_parameters(recurse=False)


def _as_it_is(stored: Tensor) -> Tensor:
    return stored
