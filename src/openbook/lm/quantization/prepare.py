"""Makes a model fast for inference: query, key and value in one product, gated networks in three, weights packed."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import nn

from openbook.lm.nn.attention import Attention
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import GatedMlp, Mlp
from openbook.lm.quantization.onednn import PackedGatedMlp, PackedLinear

FloatPrecision = Literal["float32", "bfloat16"]
DTYPES: dict[FloatPrecision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Model = TypeVar("Model", bound=nn.Module)


def prepare(model: Model, precision: FloatPrecision) -> Model:
    """Changes `model` in place and returns it: for inference only, its weights can no longer be trained or saved.

    Every `Linear` holds packed weights of this precision; norms and embeddings are cast to it. A head that is tied to the
    table of tokens becomes a packed copy: the table stays as it is for looking up.
    """
    dtype = DTYPES[precision]
    model.to(dtype)
    for module in list(model.modules()):
        if isinstance(module, Attention):
            fuse_qkv(module)
        elif isinstance(module, Mlp):
            module.up, module.is_fused = PackedLinear(module.up, module.activation), True  # type: ignore[assignment]
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, GatedMlp):
                setattr(module, name, PackedGatedMlp(child))
            elif isinstance(child, Linear):
                setattr(module, name, PackedLinear(child))
    return model.eval().requires_grad_(False)


def fuse_qkv(attention: Attention) -> None:
    """One (H D + 2 G D, E) weight in place of three: one pass over the activations."""
    parts = (attention.q, attention.k, attention.v)
    fused = Linear(parts[0].weight.shape[1], sum(part.weight.shape[0] for part in parts))
    fused.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    biases = [part.bias for part in parts if part.bias is not None]
    fused.bias = nn.Parameter(torch.cat([*biases]), requires_grad=False) if biases else None
    attention.qkv = fused
    del attention.q, attention.k, attention.v
