"""The frozen base of QLoRA: the linear layers of a model in NF4. Source: https://arxiv.org/abs/2305.14314, equation 5."""

from __future__ import annotations

from typing import NamedTuple

from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import table_of
from openbook.lm.adapters.fresh import check_takes
from openbook.lm.adapters.plan import targets_of, tied_modules
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.adapters.slot import Slot, replace_module
from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Linear
from openbook.lm.quantization.nf4 import Nf4Linear


class Quantized(NamedTuple):
    """`layers` linear layers, whose weights took `before_bytes` and now take `after_bytes`."""

    layers: int
    before_bytes: int
    after_bytes: int

    def __str__(self) -> str:
        before, after = self.before_bytes / 2**20, self.after_bytes / 2**20
        return f"{self.layers} linear layers in NF4: {after:.1f} MiB instead of {before:.1f} MiB"


def quantize_base(model: Family) -> Quantized:
    """Puts every linear layer inside a layer into NF4, in place; embeddings, norms and the head stay as they are.

    The model knows its hash from before, so that adapters trained on it load on the plain base too. It can no longer be
    trained whole, merged or saved. Raises UsageError for a model that has adapters or is packed already.
    """
    if any(isinstance(module, Slot) for module in model.modules()):
        raise UsageError("the model has adapters", "quantize the base first, then put adapters on it")
    if any(isinstance(module, Nf4Linear) for module in model.modules()):
        raise UsageError("the base is in NF4 already", "load it again")
    check_takes(model, LoraSettings())
    table = table_of(model)
    ties = tied_modules(model, table)
    layers, before, after = 0, 0, 0
    for ours, _, module in targets_of(model, table):
        if isinstance(module, Linear) and "layers" in ours.split(".") and ours not in ties:
            packed = Nf4Linear(module)
            before += module.weight.numel() * module.weight.element_size()
            after += packed.size_bytes
            layers += 1
            replace_module(model, ours, packed)
    model.requires_grad_(False)
    return Quantized(layers, before, after)
