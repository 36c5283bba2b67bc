"""A base that is packed for inference and still takes low-rank adapters: its linear layers stay apart, each behind its own slot.

What `lm.quantization.prepare` joins (query, key and value, gate and up, all layers in one call) is not joined here: an adapter
changes each by itself. That is the price of adapters.
"""

from __future__ import annotations

from typing import TypeVar

import torch

from openbook.lm.adapters.attach import table_of
from openbook.lm.adapters.packed_base import PackedBase
from openbook.lm.families.base import Family
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.linear import Linear, Packed
from openbook.lm.nn.moe import Moe
from openbook.lm.quantization.one_pass import turn_in_place
from openbook.lm.quantization.onednn import PackedLinear
from openbook.lm.quantization.prepare import DTYPES, Precision, eight_bits, four_bits
from openbook.lm.quantization.short_attention import attend_short

Model = TypeVar("Model", bound=Family)


def prepare_for_adapters(model: Model, precision: Precision, *, group_size: int = 32) -> Model:
    """As `prepare`, in place, for a model whose adapters come and go. The hash of the base is taken before."""
    table_of(model)
    if precision in ("float32", "bfloat16"):
        model.to(DTYPES[precision])
    on_cpu = model.device.type == "cpu"
    for module in list(model.modules()):
        if isinstance(module, Attention) and on_cpu:
            module.turn, module.attend = turn_in_place, attend_short
        for name, child in list(module.named_children()):
            if isinstance(child, Linear) and not isinstance(module, Moe):
                setattr(module, name, PackedBase(child, _packed(child, precision, group_size)))
    if precision in ("int8", "int4"):
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    return model.eval().requires_grad_(False)


def _packed(source: Linear, precision: Precision, group_size: int) -> Packed:
    match precision:
        case "int8":
            return eight_bits(source)
        case "int4":
            return four_bits(source, group_size)
        case _:
            return PackedLinear(source)
