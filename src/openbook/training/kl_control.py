"""How much a policy pays for leaving its reference: a fixed price, or one that holds the divergence at a target."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_ERROR = 0.2


@dataclass
class KlControl:
    """`price`: of a nat. `target`: nats of an answer; None: the price stays. `horizon`: answers after which it has adapted.

    Source: Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, section 2.2.
    """

    price: float
    target: float | None = None
    horizon: int = 10_000

    def saw(self, divergence: float, answers: int) -> None:
        """divergence: nats of an answer, the mean over `answers` of all ranks."""
        if self.target is not None:
            error = min(max(divergence / self.target - 1, -_MOST_ERROR), _MOST_ERROR)
            self.price *= 1 + error * answers / self.horizon
