"""Layers that stay as they are while the others learn, by number or by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import Trainable, trainable
from openbook.lm.families.base import Family

EMBEDDINGS = ("tokens", "places", "segments", "embedding_norm")
"""What makes vectors of tokens; in a tied model the head too."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_RANGE = re.compile(r"(-?\d+)(?:-(\d+))?")


def freeze(model: Family, wanted: Sequence[int | str]) -> Trainable:
    """Takes the gradient from all that `wanted` names: a number of a layer (-1 is the last), "0-3", "embeddings", or a module's
    dotted name. Of an encoder-decoder a number means the layer of both.

    UsageError for a name that fits nothing, and where nothing would be left to learn.
    """
    names = [name for name, one in model.named_parameters() if one.requires_grad]
    for one in wanted:
        found = list(_named(names, str(one)))
        if not found:
            raise UsageError(f"continual.freeze has {one!r}, which is no part of the model", f"it has {_parts(names)}")
        for name in found:
            model.get_parameter(name).requires_grad_(False)
    left = trainable(model)
    if not left.trained:
        raise UsageError("continual.freeze leaves nothing to learn", f"leave one of {_parts(names)} out of it")
    return left


def _named(names: Sequence[str], wanted: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(wanted)
    last = max((int(found[1]) for name in names if (found := _LAYER.search(name))), default=-1)
    for name in names:
        layer = _LAYER.search(name)
        if numbers is not None:
            first = int(numbers[1]) + (last + 1 if int(numbers[1]) < 0 else 0)
            if layer is not None and first <= int(layer[1]) <= int(numbers[2] or first):
                yield name
        elif wanted == "embeddings":
            if name.split(".")[0] in EMBEDDINGS:
                yield name
        elif name == wanted or name.startswith(f"{wanted}."):
            yield name


def _parts(names: Sequence[str]) -> str:
    layers = sorted({int(found[1]) for name in names if (found := _LAYER.search(name))})
    others = sorted({name.split(".")[0] for name in names if not _LAYER.search(name)})
    return ", ".join((f"layers {layers[0]}-{layers[-1]}" if layers else "no layers", "embeddings", *others))
