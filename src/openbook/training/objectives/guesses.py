"""The cross-entropy as a head, which also counts the tokens that were guessed right, where no gradient is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from openbook.training.loss import cross_entropy_sum

_CHUNK_ROWS = 512


class Guesses:
    """targets: (M,). Counting costs the logits a second time, so that it is done in evaluations only."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets
        self.right: int | None = None

    def __call__(self, hidden: Tensor, head: nn.Module | None) -> Tensor:
        """hidden: (M, E) -> () the sum of nats."""
        if head is not None and not torch.is_grad_enabled():
            parts = zip(torch.split(hidden, _CHUNK_ROWS), torch.split(self.targets, _CHUNK_ROWS), strict=True)
            self.right = sum(int((head(own).argmax(dim=1) == wanted).sum()) for own, wanted in parts)
        return cross_entropy_sum(hidden, head, self.targets)

    def metrics(self) -> Mapping[str, tuple[float, float]]:
        return {} if self.right is None else {"accuracy": (float(self.right), float(len(self.targets)))}
