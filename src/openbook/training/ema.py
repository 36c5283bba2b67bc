"""An exponential moving average of the weights, which is evaluated and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """average = d average + (1 - d) weights after every step, in float32, of all that is trained.

    d is min(decay, (1 + n) / (10 + n)) after n steps, so that the first weights are soon forgotten. Source: Polyak & Juditsky
    1992, https://doi.org/10.1137/0330046; the ramp is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._weights = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self._averages = {name: one.detach().float().clone() for name, one in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, average in self._averages.items():
            average.lerp_(self._weights[name].float(), 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While the block runs, the model has the averages for weights."""
        raw = {name: one.detach().clone() for name, one in self._weights.items()}
        self._put(self._averages)
        try:
            yield
        finally:
            self._put(raw)

    def state(self) -> dict[str, Tensor]:
        return self._averages | {"": torch.tensor(self.steps)}

    def resume(self, state: dict[str, Tensor]) -> None:
        """KeyError where an average is missing."""
        self.steps = int(state[""])
        for name, average in self._averages.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, one in self._weights.items():
            one.copy_(values[name])
