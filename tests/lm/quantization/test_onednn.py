from __future__ import annotations

import pytest
import torch

from openbook.lm.nn.linear import Linear
from openbook.lm.nn.mlp import activate
from openbook.lm.quantization import onednn


@pytest.mark.parametrize("private", [True, False])
def test_packed_and_plain_agree(private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not private:
        monkeypatch.setattr(onednn, "has_packed_linear", lambda dtype: False)
    torch.manual_seed(0)
    linear = Linear(48, 33).requires_grad_(False)
    linear.bias.normal_()
    x = torch.randn(7, 48)
    assert torch.allclose(onednn.PackedLinear(linear)(x), linear(x), atol=1e-5)
    for activation in ("gelu", "gelu_tanh", "relu", "silu"):
        want = activate(linear(x), activation)
        assert torch.allclose(onednn.PackedLinear(linear, activation)(x), want, atol=1e-5)
