"""Number formats of a step: which products are rounded, and what keeps small gradients from becoming 0 in float16."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from openbook.core.errors import RunStopped
from openbook.lm.nn.linear import Linear

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precision -> format of the products; weights and sums stay in float32. "bfloat16-pure" has its weights in bfloat16 and needs
none: the optimizer keeps them in float32 (`optimizer.Optimizers`)."""


@contextmanager
def products_in(precision: str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Rounded weights are not kept until the end: each is read once, and the backward pass has its own."""
    kind = torch.device(device).type
    with torch.autocast(kind, AUTOCAST.get(precision), enabled=precision in AUTOCAST, cache_enabled=False):
        yield


@torch.no_grad()
def narrow_frozen(model: nn.Module, precision: str) -> None:
    """Frozen weights of products in the format that every product rounds them to: to the bit the same products, in half the
    memory, and without a copy of each until the backward pass. A weight that something else reads too (a table of tokens, in a
    tied model the head's) stays as it is.
    """
    if (dtype := AUTOCAST.get(precision)) is None:
        return
    layers = [one for one in model.modules() if type(one) is Linear]
    owners = Counter(id(weight) for one in model.modules() for weight in one.parameters(recurse=False))
    for layer in layers:
        if not layer.weight.requires_grad and owners[id(layer.weight)] == 1:
            layer.weight.data = layer.weight.data.to(dtype)


class LossScaler:
    """Multiplies the loss so that float16 gradients stay above the least number there is; by powers of 2, which round nothing.

    A step whose gradients overflow is not taken and the factor halved; after `patience` good steps it is doubled.
    Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740, section 3.2.
    """

    def __init__(self, factor: float = 2.0**16, patience: int = 2_000) -> None:
        self.factor, self.patience, self.good_steps = factor, patience, 0

    def unscale(self, parameters: list[nn.Parameter]) -> None:
        grads = [one.grad for one in parameters if one.grad is not None]
        torch._foreach_mul_(grads, 1 / self.factor)

    def saw(self, is_finite: bool) -> None:
        """RunStopped where no factor is small enough."""
        if not is_finite:
            self.factor, self.good_steps = self.factor / 2, 0
            if self.factor < 1:
                raise RunStopped("gradients overflow float16 at any scale", "use precision=bfloat16 or float32")
            return
        self.good_steps += 1
        if self.good_steps == self.patience:
            self.factor, self.good_steps = min(self.factor * 2, 2.0**24), 0

    def state(self) -> dict[str, float]:
        return {"factor": self.factor, "good_steps": self.good_steps}

    def resume(self, state: dict[str, float]) -> None:
        self.factor, self.good_steps = float(state["factor"]), int(state["good_steps"])
