"""Makes a model fast for inference: query, key and value in one product, gated networks in three, weights packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.adapters.slot import Slot
from openbook.lm.families.llama import Llama
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.nn.activation import Activation
from openbook.lm.nn.attention import Attention
from openbook.lm.nn.linear import Linear, Packed
from openbook.lm.nn.mlp import GatedMlp, Mlp, activate
from openbook.lm.nn.moe import Moe
from openbook.lm.nn.norm import RmsNorm
from openbook.lm.quantization.bfloat16 import Bfloat16Linear, why_not_bfloat16
from openbook.lm.quantization.dynamic import DynamicInt8Linear
from openbook.lm.quantization.dynamic4 import DynamicInt4Linear
from openbook.lm.quantization.integers import Int4Linear, Int8Linear
from openbook.lm.quantization.one_pass import OnePassNorm, turn_in_place
from openbook.lm.quantization.onednn import PackedGatedMlp, PackedLinear
from openbook.lm.quantization.short_attention import attend_short

FloatPrecision = Literal["float32", "bfloat16"]
Precision = Literal[FloatPrecision, "int8", "int4"]
DTYPES: dict[FloatPrecision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Model = TypeVar("Model", bound=nn.Module)


def prepare(model: Model, precision: Precision, *, group_size: int = 32) -> Model:
    """Changes `model` in place and returns it: for inference only, its weights can no longer be trained or saved.

    "float32", "bfloat16": every `Linear` holds packed weights of this precision; norms and embeddings are cast to it.
    "int8": 8-bit weights and, as they come, activations. "int4": 4-bit weights in groups of `group_size` and, where the
    processor has VNNI, 8-bit activations. Beside integers, norms, embeddings and what flows between layers are bfloat16. A
    head that is tied to the table of tokens becomes a packed copy: the table stays as it is for looking up. The experts of a
    mixture and what chooses among them keep their floats. A model that is not on the CPU gets the fused product and the
    plain forms. Raises UsageError for another precision and for a model with adapters.
    """
    if any(isinstance(module, Slot) for module in model.modules()):
        raise UsageError("the model has adapters", "merge or detach them, and prepare it then")
    if precision not in get_args(FloatPrecision) + ("int8", "int4"):
        raise UsageError(f"precision {precision!r} is not known", "known are float32, bfloat16, int8 and int4")
    if precision == "int8":
        return _with_packed(model, eight_bits)
    if precision == "int4":
        return _with_packed(model, lambda source: four_bits(source, group_size))
    dtype = DTYPES[precision]
    model.to(dtype)
    if precision == "bfloat16" and isinstance(model, Llama) and _is_on_cpu(model):
        from openbook.lm.quantization.fused_decoder import why_not_shape

        if not why_not_bfloat16() and not why_not_shape(model):
            return _with_packed(model, Bfloat16Linear)
    for module in list(model.modules()):
        if isinstance(module, Attention):
            fuse_qkv(module)
    if not _is_on_cpu(model):
        return model.eval().requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, Attention):
            module.turn, module.attend = turn_in_place, attend_short
        elif isinstance(module, Mlp):
            module.up, module.is_fused = PackedLinear(module.up, module.activation), True  # type: ignore[assignment]
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GatedMlp):
                setattr(module, name, PackedGatedMlp(child))
            elif isinstance(child, Linear):
                setattr(module, name, PackedLinear(child))
            elif isinstance(child, RmsNorm):
                setattr(module, name, OnePassNorm(child))
    return model.eval().requires_grad_(False)


def eight_bits(source: Linear) -> Packed:
    """With 8-bit activations on the CPU, else with floats."""
    return DynamicInt8Linear(source) if _is_on_cpu(source) else Int8Linear(source)


def four_bits(source: Linear, group_size: int) -> Packed:
    """In the kernel's order where there is one, else the plain form."""
    plain = Int4Linear(source, group_size)
    return DynamicInt4Linear(plain) if _is_on_cpu(source) and not why_not_int8() else plain


def _is_on_cpu(module: nn.Module) -> bool:
    return next(module.parameters()).device.type == "cpu"


class FusedGatedMlp(Packed):
    """A `GatedMlp` whose gate and up are one product. `make`: what becomes of a `Linear`."""

    def __init__(self, source: GatedMlp, make: Callable[[Linear], Packed]) -> None:
        super().__init__()
        self.activation: Activation = source.activation
        self.gate_up, self.down = make(joined([source.gate, source.up])), make(source.down)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, E) -> (N, E)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (N, I) each
        return self.down(activate(gate, self.activation) * up)  # type: ignore[no-any-return]


def _with_packed(model: Model, make: Callable[[Linear], Packed]) -> Model:
    """The weights are made from the floats that the model has, before the rest of it is cast to bfloat16."""
    on_cpu = _is_on_cpu(model)
    for module in list(model.modules()):
        if isinstance(module, Attention):
            fuse_qkv(module)
            if on_cpu:
                module.turn, module.attend = turn_in_place, attend_short
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GatedMlp):
                setattr(module, name, FusedGatedMlp(child, make))
            elif isinstance(child, Linear) and not isinstance(module, Moe):
                setattr(module, name, make(child))
            elif isinstance(child, RmsNorm) and on_cpu:
                setattr(module, name, OnePassNorm(child))
    for module in model.modules():
        if isinstance(module, OnePassNorm) or not isinstance(module, Packed):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)
    model.eval().requires_grad_(False)
    from openbook.lm.quantization.fused_decoder import FusedDecoder, why_not_fused

    if isinstance(model, Llama) and on_cpu and not why_not_fused(model):
        model.fused = FusedDecoder(model)
    return model


def fuse_qkv(attention: Attention) -> None:
    """One (H D + 2 G D, E) weight in place of three: one pass over the activations."""
    attention.qkv = joined([attention.q, attention.k, attention.v])
    del attention.q, attention.k, attention.v


def joined(parts: list[Linear]) -> Linear:
    """One layer that gives the outputs of all, one behind the other."""
    biases = [part.bias for part in parts if part.bias is not None]
    with torch.device("meta"):
        fused = Linear(parts[0].weight.shape[1], sum(part.weight.shape[0] for part in parts), bias=bool(biases))
    fused.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]), requires_grad=False)
    fused.bias = nn.Parameter(torch.cat([bias.detach() for bias in biases]), requires_grad=False) if biases else None
    return fused
