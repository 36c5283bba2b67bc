"""A narrow network behind a part of a layer. Source: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.adapters.slot import Change
from openbook.lm.nn.activation import Activation
from openbook.lm.nn.mlp import activate


class Bottleneck(Change):
    """y + up(activation(down(y))), in float32. `up` starts at zero: the output of step 0 is the base's.

    The paper starts it near the identity (deviation 0.01); exactly at it, nothing is lost, as with LoRA.
    """

    def __init__(self, width: int, size: int, activation: Activation) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.down, self.down_bias = nn.Parameter(torch.zeros(size, width)), nn.Parameter(torch.zeros(size))
        self.up, self.up_bias = nn.Parameter(torch.zeros(width, size)), nn.Parameter(torch.zeros(width))

    def initialise(self, generator: torch.Generator) -> None:
        """Draws `down` with deviation 0.01."""
        with torch.no_grad():
            self.down.normal_(0.0, 0.01, generator=generator)

    def forward(self, x: Tensor, y: Tensor, base: nn.Module) -> Tensor:
        """y: (N, E) -> (N, E); x is not looked at."""
        narrow = activate(F.linear(y.to(self.down.dtype), self.down, self.down_bias), self.activation)  # (N, size)
        return y + F.linear(narrow, self.up, self.up_bias).to(y.dtype)
