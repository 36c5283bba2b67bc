"""Two ways to run the same layers: again in the backward pass, which saves memory, and compiled, which saves time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from openbook.lm.nn.mlp import GatedMlp
from openbook.lm.nn.norm import RmsNorm


def checkpoint_layers(model: nn.Module) -> None:
    """Of each layer only the input is kept for the backward pass, which computes the rest again.

    Source: Chen et al. 2016, https://arxiv.org/abs/1604.06174. The step takes about a quarter longer, and its gradients are the
    same to the bit.
    """
    for layer in layers_of(model):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def compile_layers(model: nn.Module, *, is_fixed: bool) -> None:
    """`torch.compile`. `is_fixed`: every forward pass has the same shape, so that whole layers are compiled; otherwise only what
    is free of the lengths of sequences: norms and MLPs, for any number of tokens.
    """
    if is_fixed:
        for layer in layers_of(model):
            layer.compile(dynamic=False)
        return
    for module in model.modules():
        if isinstance(module, RmsNorm | GatedMlp):
            module.compile(dynamic=True)


def layers_of(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model, of encoder and decoder where it has both."""
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] == "layers":
            yield from module
