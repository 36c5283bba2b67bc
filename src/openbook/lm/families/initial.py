"""How fresh weights are drawn, for all families alike."""

from __future__ import annotations

import math

import torch
from torch import nn

DEVIATION = 0.02


@torch.no_grad()
def draw(model: nn.Module, seed: int, ends: tuple[str, ...] = (), branches: int = 1) -> None:
    """Weights normal with deviation 0.02, those whose name ends in `ends` 0.02 / sqrt(branches); norms 1, biases 0.

    `ends`: what a residual branch ends with; `branches`: how many are added up, which keeps the sum from growing with depth. The
    logits of a fresh model are near 0, so that its loss is ln V. Source: Radford et al. 2019 (GPT-2), section 2.3.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:
            std = DEVIATION / math.sqrt(branches) if name.endswith(ends or "\0") else DEVIATION
            parameter.normal_(0.0, std, generator=generator)
