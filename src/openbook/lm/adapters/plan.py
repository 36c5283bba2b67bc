"""Which modules an adapter touches: names of ours or of the checkpoint, and what tied weights forbid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.packed_base import PackedBase
from openbook.lm.adapters.settings import Targets, named
from openbook.lm.adapters.slot import Table, module_at
from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Linear
from openbook.lm.quantization.nf4 import Nf4Linear

GROUPS: dict[str, Callable[[str], bool]] = {
    "attention": lambda name: name.split(".")[-2:-1] in (["attention"], ["cross"]),
    "all-linear": lambda name: "layers" in name.split(".") and not name.endswith(".router"),
}
"""A group is a rule over our names. "all-linear" is every linear layer inside a layer, so not the head; nor the
router of a mixture, which chooses experts rather than computes."""


class Target(NamedTuple):
    """A module by our name and by the checkpoint's."""

    ours: str
    theirs: str
    module: nn.Module


def linear_targets(model: Family, table: Table, wanted: Targets) -> list[Target]:
    """The linear layers that `wanted` names, in the order of the model.

    Raises UsageError for a name that fits no linear layer, and for a layer whose weight is tied to another module's.
    """
    known = [one for one in targets_of(model, table) if isinstance(one.module, Linear | Nf4Linear | PackedBase)]
    found = _chosen(known, wanted, "linear layer")
    ties = tied_modules(model, table)
    for one in found:
        if others := sorted(ties.get(one.ours, set()) - {one.ours}):
            raise UsageError(
                f"{one.ours} shares its weight with {', '.join(others)}: what is learned for one is lost in the other",
                f"name {one.ours} in trained_modules, which trains the shared weight whole, or leave it out",
            )
    return found


def whole_targets(model: Family, table: Table, wanted: Targets) -> list[Target]:
    """The modules that `wanted` names, to be trained whole; with one of a tied pair, both. UsageError where none fits."""
    known = targets_of(model, table)
    ties = tied_modules(model, table)
    chosen = {name for one in _chosen(known, wanted, "module") for name in ties.get(one.ours, {one.ours})}
    return [one for one in known if one.ours in chosen]


def targets_of(model: Family, table: Table) -> list[Target]:
    """Every module of the base that a checkpoint has weights for."""
    return [Target(ours, place.theirs, module_at(model, ours)) for ours, place in table.places.items()]


def tied_modules(model: Family, table: Table) -> dict[str, set[str]]:
    """Module -> it and all others that hold the same parameter; modules that share nothing are not in it."""
    holders: dict[int, set[str]] = defaultdict(set)
    for ours in table.places:
        for parameter in module_at(model, ours).parameters(recurse=False):
            holders[id(parameter)].add(ours)
    return {name: group for group in holders.values() if len(group) > 1 for name in group}


def _chosen(known: list[Target], wanted: Targets, what: str) -> list[Target]:
    chosen: set[str] = set()
    for name in wanted:
        in_group = GROUPS.get(name)
        found = {one.ours for one in known if (in_group(one.ours) if in_group else named(name, (one.ours, one.theirs)))}
        if not found:
            raise UsageError(f"no {what} of this model is called {name!r}", f"there are {_ends(known)}")
        chosen |= found
    return [one for one in known if one.ours in chosen]


def _ends(known: list[Target]) -> str:
    """The names without the number of their layer, each once."""
    ends = dict.fromkeys(one.ours.split(".", 2)[-1] if one.ours.startswith("layers.") else one.ours for one in known)
    return ", ".join((*ends, *GROUPS))
