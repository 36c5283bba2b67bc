"""Between our parameters and a checkpoint's tensors: does it fit, fill, gather. All of it by the `Link`s of a family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from openbook.core.errors import ModelUnavailable
from openbook.lm.families.base import Family, Link
from openbook.lm.nn.linear import Packed

_NAMED = 8


class Tensors(Protocol):
    """What holds the tensors of a checkpoint: names, shapes without reading, and a tensor when it is asked for."""

    shapes: dict[str, tuple[int, ...]]

    @property
    def not_floats(self) -> list[str]:
        """Names of tensors whose numbers are no F64, F32, F16 or BF16."""
        ...

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str) -> Tensor: ...


def match(model: Family, stored: Tensors, source: Path) -> None:
    """Raises ModelUnavailable unless every parameter is in `stored` in its shape, and everything in `stored` is used."""
    parameters = dict(model.named_parameters())
    links = [link for link in model.links() if link.ours in parameters]
    missing = sorted({link.theirs for link in links} - set(stored) | (set(parameters) - {link.ours for link in links}))
    if missing:
        raise ModelUnavailable(f"{source} lacks {_listed(missing)}", "check that config.json belongs to these weights")
    tied = {link.theirs for link in model.links()} - {link.theirs for link in links}
    unused = sorted(
        name
        for name in set(stored) - {link.theirs for link in links} - tied
        if not name.endswith(model.ignored or ("\0",))
    )
    if unused:
        raise ModelUnavailable(
            f"{source} holds {_listed(unused)}, of which a {model.config.model_type} model with this config.json has no use",
            "check that config.json belongs to these weights",
        )
    if packed := sorted(set(stored.not_floats) & {link.theirs for link in links}):
        raise ModelUnavailable(
            f"{source} holds weights that are no floats: {_listed(packed)}",
            "use the checkpoint that they were quantized from",
        )
    wrong = [
        f"{link.theirs} (wanted {wanted}, got {stored.shapes[link.theirs]})"
        for link in links
        if (wanted := _stored_shape(link, parameters[link.ours])) != stored.shapes[link.theirs]
    ]
    if wrong:
        raise ModelUnavailable(
            f"{source} has other shapes than config.json says: {_listed(wrong)}",
            "check that config.json belongs to these weights",
        )


def _stored_shape(link: Link, parameter: Tensor) -> tuple[int, ...]:
    shape = list(parameter.shape if link.row is None else parameter.shape[1:])
    if link.part is not None:
        shape[0] *= link.part[1]
    return tuple(reversed(shape)) if link.transposed else tuple(shape)


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} tensors: {', '.join(names[:_NAMED])}{rest}"


@torch.no_grad()
def fill(model: Family, stored: Tensors) -> None:
    """Copies every tensor into its parameter, one at a time, converting on the way.

    Raises ModelUnavailable where config.json ties two weights and the checkpoint holds two that differ.
    """
    parameters = dict(model.named_parameters())
    for link in model.links():
        if link.ours in parameters:
            place = parameters[link.ours] if link.row is None else parameters[link.ours][link.row]
            place.copy_(link.read(stored[link.theirs]))
    both = dict(model.named_parameters(remove_duplicate=False))
    for link in model.links():
        if link.ours in both.keys() - parameters.keys() and link.theirs in stored.shapes:
            twin = both[link.ours]
            if not torch.equal(link.read(stored[link.theirs]).to(twin), twin):
                raise ModelUnavailable(
                    f"{link.theirs} is not the tensor that config.json ties it to",
                    "set tie_word_embeddings to false in config.json, and both are used",
                )


def gathered(model: Family) -> Iterator[tuple[str, Tensor]]:
    """(the checkpoint's name, its tensor) of everything that a checkpoint of this model holds; tied weights once."""
    if packed := next((name for name, module in model.named_modules() if isinstance(module, Packed)), None):
        raise ValueError(f"{packed!r} is packed: save the model before it is made ready for inference")
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    parts: dict[str, list[Link]] = defaultdict(list)
    known = set()
    for link in model.links():
        if link.ours in parameters:
            parts[link.theirs].append(link)
            known.add(link.ours)
    if rest := sorted(set(parameters) - known):
        raise ValueError(f"{rest[0]!r} belongs to no checkpoint: save the model before it is fused, packed or adapted")
    given = set()
    for theirs, links in parts.items():
        links.sort(key=lambda link: link.part or (0, 1))
        pieces = [parameters[one.ours] if one.row is None else parameters[one.ours][one.row] for one in links]
        whole = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        if (links[0].ours, links[0].row) in given:
            whole = whole.clone()  # under a second name; a file holds no tensor twice
        given.add((links[0].ours, links[0].row))
        yield theirs, whole.t().contiguous() if links[0].transposed else whole
