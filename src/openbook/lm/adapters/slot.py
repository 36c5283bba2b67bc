"""Where adapters sit: a `Slot` in place of a module, and one `Table` a model that knows which adapter is used.

Nothing of the base is changed: its module is inside the slot, with the same parameters. A slot without the adapter that is
active gives exactly what its module gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from openbook.core.errors import UsageError
from openbook.lm.adapters.places import Place
from openbook.lm.adapters.settings import Settings
from openbook.lm.adapters.virtual import Virtual
from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch

TABLE = "adapters"


class Selection:
    """Shared by the table and all slots of a model: one adapter for all rows, or one for each."""

    active: str | None = None
    rows: Sequence[tuple[str, Tensor]] | None = None
    """(adapter, the rows of x that use it) of this call; rows that are in none use the base."""
    num_tokens: int = 0
    """Of the batch of this call."""


class Change(nn.Module):
    """What an adapter does at one slot: (x, the base's y, the base) -> the new y."""

    def __call__(self, x: Tensor, y: Tensor, base: nn.Module) -> Tensor:
        """x: (N, in), y: (N, out) -> (N, out)."""
        found: Tensor = super().__call__(x, y, base)
        return found


class Slot(nn.Module):
    """A module of the base with the changes of the adapters that touch it; `changes`: adapter -> `Change`."""

    def __init__(self, base: nn.Module, selection: Selection) -> None:
        super().__init__()
        self.base = base
        self.changes = nn.ModuleDict()
        self.selection = selection

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, in), or ids (N,) of an embedding -> (N, out)."""
        if self.selection.rows is None:
            return self._changed(self.selection.active, x, None)
        y: Tensor = self.base(x)
        for name, rows in self.selection.rows:
            if name in self.changes:
                assert len(x) == self.selection.num_tokens  # `Table.alone` has the adapters where it is not
                y = y.index_copy(0, rows, self._changed(name, x[rows], y[rows]))
        return y

    def _changed(self, name: str | None, x: Tensor, y: Tensor | None) -> Tensor:
        change = self.changes[name] if name is not None and name in self.changes else None
        if isinstance(change, Whole):
            return change(x, x, self.base)
        y = self.base(x) if y is None else y
        return y if not isinstance(change, Change) else change(x, y, self.base)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """`slot.weight = ...`, which ties a head to its table, ties the module of the base."""
        setattr(self.base, name, param)

    @property
    def weight(self) -> Tensor:
        """The weight in use, for a head that is read rather than called."""
        name = self.selection.active
        change = self.changes[name] if name is not None and name in self.changes else None
        if change is not None and not isinstance(change, Whole):
            raise UsageError(f"the weight of a head with adapter {name!r} is not one matrix", "call the head instead")
        return (self.base if change is None else change.module).get_parameter("weight")


class Whole(Change):
    """A copy of the module that is trained in its place."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, y: Tensor, base: nn.Module) -> Tensor:
        return self.module(x)  # type: ignore[no-any-return]


class Table(nn.Module):
    """The adapters of one model. `places`: module of ours -> where it is in a checkpoint; `origin`: the hash of the base.

    `virtual`: adapter -> the module that makes the keys and values which stand before every sequence. `alone`: adapters
    that a whole batch must use together, and why.
    """

    def __init__(self, places: Mapping[str, Place], origin: str) -> None:
        super().__init__()
        self.places, self.origin = dict(places), origin
        self.settings: dict[str, Settings] = {}
        self.selection = Selection()
        self.alone: dict[str, str] = {}
        self.virtual = nn.ModuleDict()
        self.hook: RemovableHandle | None = None
        self.is_reading = False
        """Whether the model is being run by a virtual module, which must not stand before itself."""

    def before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A hook on the model's forward: sets the rows of each adapter, puts virtual tokens before the sequences."""
        if self.is_reading:
            return None
        ids, batch = (args[at] if len(args) > at else kwargs.get(key) for at, key in enumerate(("input_ids", "batch")))
        assert isinstance(batch, Batch)
        self.selection.num_tokens = len(batch.positions)
        self.selection.rows = None if batch.adapters is None else self._rows(batch, batch.adapters)
        name = self.selection.active if batch.adapters is None else None
        virtual = self.virtual[name] if name is not None and name in self.virtual else None
        if isinstance(virtual, Virtual):
            self.is_reading = True
            try:
                batch = virtual.placed(model, batch)
            finally:
                self.is_reading = False
        return (ids, batch, *args[2:]), {key: one for key, one in kwargs.items() if key not in ("input_ids", "batch")}

    def _rows(self, batch: Batch, places: Tensor) -> list[tuple[str, Tensor]]:
        """The rows of each adapter when sequence s uses the one in place `places[s]`; -1 is the base."""
        names, sequences = list(self.settings), len(batch.starts) - 1
        if len(places) != sequences:
            raise UsageError(f"{len(places)} adapters for {sequences} sequences", "name one for each, or None")
        owner = places.repeat_interleave(batch.starts.diff(), output_size=len(batch.positions))  # (N,)
        rows: list[tuple[str, Tensor]] = []
        for place in sorted(set(places.tolist()) - {-1}):
            if not 0 <= place < len(names):
                raise UsageError(f"no adapter is in place {place}", f"there are {len(names)}: {', '.join(names)}")
            if why := self.alone.get(names[place]):
                raise UsageError(f"{names[place]!r} {why}", "activate it for a batch of its own")
            rows.append((names[place], (owner == place).nonzero()[:, 0]))
        return rows


def find_table(model: Family) -> Table | None:
    found = getattr(model, TABLE, None)
    return found if isinstance(found, Table) else None


def slots_of(model: Family) -> list[tuple[str, Slot]]:
    """(name in the plain model, slot) in the order of the model."""
    return [(name.replace(".base.", "."), one) for name, one in model.named_modules() if isinstance(one, Slot)]


def module_at(model: nn.Module, name: str) -> nn.Module:
    """The base's module of this name; slots are looked through."""
    module = model
    for part in name.split("."):
        module = _base(getattr(module, part))
    return module


def slot_at(model: nn.Module, name: str, selection: Selection) -> Slot:
    """The slot of this module, made if there is none."""
    return _replaced(model, name, lambda module: module if isinstance(module, Slot) else Slot(module, selection))  # type: ignore[return-value]


def remove_slot(model: nn.Module, name: str) -> None:
    """Puts the base's module back."""
    _replaced(model, name, _base)


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` in the place of the one of this name."""
    _replaced(model, name, lambda _: module)


def _replaced(model: nn.Module, name: str, make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    path, _, last = name.rpartition(".")
    parent = module_at(model, path) if path else model
    made = make(getattr(parent, last))
    setattr(parent, last, made)
    return made


def _base(module: nn.Module) -> nn.Module:
    return module.base if isinstance(module, Slot) else module
