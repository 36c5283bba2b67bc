"""Episodes with all that PPO learns from: what each token was thought to be worth, and what it was."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from openbook.training.sources.rollouts import Rollouts


@dataclass(frozen=True)
class Experience(Rollouts):
    """Of each of the M tokens, (M,) float32, as the rest of `Rollouts`: `values`, what the critic said when the episodes were
    judged, and `returns`, what it should have said. `old` is always known.
    """

    values: Tensor = field(default_factory=lambda: torch.empty(0))
    returns: Tensor = field(default_factory=lambda: torch.empty(0))
