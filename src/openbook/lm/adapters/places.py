"""Where each module of ours is in a checkpoint, and a tensor's way between the two: whole, a part, or transposed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from openbook.lm.families.base import Family


class Place(NamedTuple):
    """`theirs`: the checkpoint's module. `part` (i, n): ours is the i-th of n equal parts of its rows. `is_transposed`: its
    weight is (in, out)."""

    theirs: str
    part: tuple[int, int] | None = None
    is_transposed: bool = False

    def rows(self, stored: Tensor) -> Tensor:
        """Our part of something with a row for every output."""
        return stored if self.part is None else stored.chunk(self.part[1])[self.part[0]]

    def weight(self, stored: Tensor) -> Tensor:
        """Our part (out, in) of the checkpoint's weight."""
        return self.rows(stored.t() if self.is_transposed and stored.ndim == 2 else stored)


def places_of(model: Family) -> dict[str, Place]:
    """Module of ours -> its place, for every module of a plain model that is not a part of several of the checkpoint's."""
    found: dict[str, Place] = {}
    shared: set[str] = set()
    for link in model.links():
        module, _, parameter = link.ours.rpartition(".")
        if link.row is not None:
            shared.add(module)
        elif parameter == "weight" or module not in found:
            found[module] = Place(link.theirs.rpartition(".")[0], link.part, link.transposed)
    return {module: place for module, place in found.items() if module not in shared}
