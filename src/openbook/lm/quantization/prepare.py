"""Makes a model fast for inference: query, key and value in one product, weights packed for the processor."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from openbook.lm.nn.attention import Attention
from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import Mlp
from openbook.lm.quantization.onednn import PackedLinear

FloatPrecision = Literal["float32", "bfloat16"]
DTYPES: dict[FloatPrecision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def prepare(model: nn.Module, precision: FloatPrecision) -> nn.Module:
    """Changes `model` in place and returns it: for inference only, its weights can no longer be trained or saved.

    Every `Linear` holds packed weights of this precision; norms and embeddings are cast to it.
    """
    dtype = DTYPES[precision]
    model.to(dtype)
    for module in list(model.modules()):
        if isinstance(module, Attention):
            _fuse(module)
        elif isinstance(module, Mlp):
            module.up, module.is_fused = PackedLinear(module.up, module.activation), True  # type: ignore[assignment]
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Linear):
                setattr(module, name, PackedLinear(child))
    return model.eval().requires_grad_(False)


def _fuse(attention: Attention) -> None:
    """One (3E, E) weight in place of three (E, E): one pass over the activations."""
    parts = (attention.q, attention.k, attention.v)
    fused = Linear(parts[0].weight.shape[1], sum(part.weight.shape[0] for part in parts))
    fused.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    biases = [part.bias for part in parts if part.bias is not None]
    fused.bias = nn.Parameter(torch.cat([*biases]), requires_grad=False) if biases else None
    attention.qkv = fused
    del attention.q, attention.k, attention.v
