"""An adapter folded into the weights of its base, and taken out of them again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import detach, known
from openbook.lm.adapters.lora import Lora
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.adapters.slot import TABLE, Whole, find_table, module_at, slots_of
from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Packed


@torch.no_grad()
def merge(model: Family, name: str) -> dict[str, Tensor]:
    """Folds an adapter into the weights and detaches it; returns the weights that it replaced, for `unmerge`.

    The sum is made in float32 and rounded once. Dropout takes no part. Raises UsageError for a kind that is no change of
    weights, beside other adapters (they were trained on the weights as they were), and for a packed base.
    """
    table = known(model, name)
    if others := sorted(set(table.settings) - {name}):
        raise UsageError(f"{others[0]!r} was made for the weights as they are", f"detach {', '.join(others)} first")
    check_merges(table.settings[name], repr(name))
    chosen = [(ours, slot, slot.changes[name]) for ours, slot in slots_of(model) if name in slot.changes]
    for ours, slot, _ in chosen:
        if isinstance(slot.base, Packed):
            raise UsageError(
                f"the base is packed ({ours}): merging would lose what was learned to rounding",
                "load the base in bfloat16 or float32, load the adapter onto it, and merge there",
            )
    replaced: dict[str, Tensor] = {}
    folded: set[int] = set()  # a tied parameter once
    for ours, slot, change in chosen:
        for parameter, value in _folded(slot.base, change):
            place = slot.base.get_parameter(parameter)
            if id(place) not in folded:
                folded.add(id(place))
                replaced[f"{ours}.{parameter}"] = place.detach().clone()
                place.copy_(value)
    detach(model, name)
    return replaced


def check_merges(settings: Settings, name: str) -> None:
    """Raises UsageError, which says what the kind adds beside the weights, unless it is a change of weights."""
    match settings:
        case LoraSettings():
            return
        case PrefixSettings():
            what = "a prefix adapter: learned keys and values before every sequence"
        case PromptSettings():
            what = "a prompt adapter: learned embeddings before every sequence"
        case BottleneckSettings():
            what = "a bottleneck adapter: a network of its own behind each part of a layer"
    raise UsageError(
        f"{name} is {what}, which no weight of the base can hold: it cannot be merged",
        "use it beside its base, by load_adapter(model, DIR); LoRA, rsLoRA and DoRA can be merged",
    )


@torch.no_grad()
def unmerge(model: Family, replaced: dict[str, Tensor]) -> None:
    """Puts back, to the bit, the weights that `merge` replaced."""
    for name, value in replaced.items():
        module, _, parameter = name.rpartition(".")
        module_at(model, module).get_parameter(parameter).copy_(value)


@torch.no_grad()
def merged_tensors(model: Family) -> dict[str, Tensor]:
    """All tensors of a model by our names, its active adapter folded in; the model stays as it is. Those that no adapter changes
    share its memory.

    UsageError for an adapter that is no change of weights, and for a packed base.
    """
    table = find_table(model)
    active = None if table is None else table.selection.active
    if table is not None and active is not None:
        check_merges(table.settings[active], repr(active))
    found = {
        name.replace(".base.", "."): one.detach()
        for name, one in model.named_parameters(remove_duplicate=False)
        if ".changes." not in name and not name.startswith(f"{TABLE}.")
    }
    for ours, slot in slots_of(model):
        if isinstance(slot.base, Packed):
            raise UsageError(
                f"the base is packed ({ours}): no plain weights can be made of it", "train another adapter"
            )
        if active is not None and active in slot.changes:
            found |= {f"{ours}.{name}": one for name, one in _folded(slot.base, slot.changes[active])}
    return found


def _folded(base: nn.Module, change: nn.Module) -> Iterator[tuple[str, Tensor]]:
    if isinstance(change, Lora):
        yield "weight", change.merged(base)
    elif isinstance(change, Whole):
        yield from change.module.named_parameters(recurse=False)
