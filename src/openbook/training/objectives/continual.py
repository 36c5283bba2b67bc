"""Learning on without forgetting: a penalty for weights that leave the place where they began.

penalty = sum_i strength_i / 2 (theta_i - start_i)^2

with the same strength for all (L2-SP: Li et al. 2018, https://arxiv.org/abs/1802.01483, section 3, without its second term for
what is new), or with what each weight meant to older data (EWC: Kirkpatrick et al. 2017, https://arxiv.org/abs/1612.00796,
equation 3). It belongs to a step, not to a micro-batch: its gradient is added once, after those of all micro-batches and ranks,
so that it is exact for every split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openbook.training.parallel import whole


@dataclass(frozen=True)
class Anchor:
    """start: where `parameter` began; strength: a tensor of its shape, or one number."""

    parameter: nn.Parameter
    start: Tensor
    strength: Tensor | float


class Penalty:
    """Of the parameters that are trained now, held where they are now. `importance`: of EWC, name -> Fisher information."""

    def __init__(
        self, model: nn.Module, l2sp: float = 0.0, ewc: float = 0.0, importance: Mapping[str, Tensor] | None = None
    ) -> None:
        self.anchors: list[Anchor] = []
        for name, one in model.named_parameters():
            if one.requires_grad:
                own = (importance or {}).get(name)
                strength = l2sp if own is None else l2sp + ewc * own
                self.anchors.append(Anchor(one, one.detach().clone(), strength))

    @torch.no_grad()
    def add_gradients(self) -> float:
        """Adds its gradient to those that are there, and gives its value."""
        total = 0.0
        for anchor in self.anchors:
            moved = anchor.parameter - anchor.start
            pull = anchor.strength * moved
            total += 0.5 * float(whole((pull * moved).sum()))
            if anchor.parameter.grad is None:
                anchor.parameter.grad = torch.zeros_like(anchor.parameter)
            anchor.parameter.grad.add_(pull.to(anchor.parameter.grad.dtype))
        return total
