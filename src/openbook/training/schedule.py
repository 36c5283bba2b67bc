"""The learning rate over a run, as a factor of its peak: up in a line, then constant, a line, half a cosine, or flat and down."""

from __future__ import annotations

import math
from typing import Literal

Shape = Literal["constant", "linear", "cosine", "wsd"]


def factor(
    shape: Shape, step: int, steps: int, *, warmup_steps: int = 0, decay_steps: int = 0, least: float = 0.0
) -> float:
    """What the peak is multiplied by in step `step` of 0..`steps` - 1.

    Warm-up rises from 1 / (`warmup_steps` + 1), so that no step is spent at 0; behind it "linear" and "cosine" are
    transformers' schedules, but end at `least` of the peak. "wsd" (warm-up, stable, decay: Hu et al. 2024,
    https://arxiv.org/abs/2404.06395) stays at the peak and falls in a line over the last `decay_steps`.
    """
    if not (0 <= warmup_steps <= steps and 0 <= least <= 1 and 0 <= decay_steps <= steps):
        raise ValueError(f"warmup_steps and decay_steps must be in 0..{steps} and least in 0..1")
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if shape == "constant":
        return 1.0
    if shape == "wsd":
        left = (steps - step) / decay_steps if decay_steps else 1.0
        return least + (1 - least) * min(left, 1.0)
    done = min((step - warmup_steps) / max(steps - warmup_steps, 1), 1.0)
    fallen = 1 - done if shape == "linear" else (1 + math.cos(math.pi * done)) / 2
    return least + (1 - least) * fallen
