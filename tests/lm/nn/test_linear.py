"""Products under autocast: what several of them read is rounded once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import rounded
from openbook.lm.nn.mlp import GatedMlp


class Roundings(TorchDispatchMode):
    """Counts what is made 16 bits wide of activations with 24 columns; weights have other shapes."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and args[0].shape == (7, 24):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layer", [GatedMlp(24, 40, "silu"), Attention(24, 2)], ids=["mlp", "attention"])
def test_what_two_products_read_is_rounded_once(layer: nn.Module) -> None:
    x = torch.randn(7, 24, requires_grad=True)
    given = (x, Batch.of([7])) if isinstance(layer, Attention) else (x,)
    with torch.autocast("cpu", torch.bfloat16), Roundings() as seen:
        layer(*given)
    assert seen.count == 1


def test_without_autocast_nothing_is_rounded() -> None:
    x = torch.randn(7, 24)
    assert rounded(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        assert rounded(x).dtype == torch.bfloat16
        assert rounded(x.double()).dtype == torch.float64
        with torch.autocast("cpu", enabled=False):
            assert rounded(x) is x
