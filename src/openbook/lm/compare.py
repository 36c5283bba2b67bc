"""Which tensors of two checkpoints differ, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from openbook.core.errors import UsageError
from openbook.lm.stored import Stored


class Difference(NamedTuple):
    """Of one tensor: "only in A", "only in B", another shape, or how far apart its numbers are.

    `largest`: max |a - b|. `relative`: ||a - b|| / ||a||, Frobenius.
    """

    name: str
    kind: str
    largest: float = 0.0
    relative: float = 0.0


def differences(a: Path, b: Path) -> Iterator[Difference]:
    """Every tensor that is not equal, in the order of `a`. Compared in float64; dtypes may differ. UsageError for a GGUF file."""
    for path in (a, b):
        if path.is_file():
            raise UsageError(
                f"{path} is a GGUF file: its tensors have other names and orders",
                f"make safetensors of it first: openbook model convert {path} DIR",
            )
    first, second = Stored(a), Stored(b)
    for name in first:
        if name not in second:
            yield Difference(name, "only in the first")
        elif first.shapes[name] != second.shapes[name]:
            yield Difference(name, f"shape {first.shapes[name]} and {second.shapes[name]}")
        else:
            left, right = first[name].double(), second[name].double()
            gap = left - right
            if bool(torch.any(gap != 0)) or bool(torch.isnan(gap).any()):
                norm = float(left.norm()) or 1.0
                yield Difference(name, "numbers", float(gap.abs().max()), float(gap.norm()) / norm)
    for name in second:
        if name not in first:
            yield Difference(name, "only in the second")
