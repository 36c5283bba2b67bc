"""The position-wise network of a transformer layer: up, activation, down; gated or plain."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from openbook.lm.nn.activation import Activation
from openbook.lm.nn.linear import Linear, rounded


class Mlp(nn.Module):
    """down(activation(up(x))). "gelu" is the exact one, x Phi(x). Source: https://arxiv.org/abs/1606.08415"""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: Activation, *, bias: bool = True) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.up = Linear(hidden_size, intermediate_size, bias=bias)
        self.down = Linear(intermediate_size, hidden_size, bias=bias)
        self.is_fused = False  # the activation is inside `up`, put there by lm.quantization.prepare

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, E) -> (N, E)."""
        wide = self.up(x)  # (N, I)
        return self.down(wide if self.is_fused else activate(wide, self.activation))  # type: ignore[no-any-return]


class GatedMlp(nn.Module):
    """down(activation(gate(x)) * up(x)); with SiLU it is SwiGLU. Source: Shazeer 2020, https://arxiv.org/abs/2002.05202"""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: Activation, *, bias: bool = False) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.gate = Linear(hidden_size, intermediate_size, bias=bias)
        self.up = Linear(hidden_size, intermediate_size, bias=bias)
        self.down = Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, E) -> (N, E)."""
        x = rounded(x)
        return self.down(activate(self.gate(x), self.activation) * self.up(x))  # type: ignore[no-any-return]


def activate(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "relu":
            return F.relu(x)
        case "silu":
            return F.silu(x)
