"""The losses of preferences by name, and the settings that each has: free of torch, so that recipes can name them."""

from __future__ import annotations

from typing import Literal, NamedTuple

PairLoss = Literal["sigmoid", "hinge", "ipo", "cdpo", "simpo", "orpo", "cpo"]
PreferenceLoss = Literal["sigmoid", "hinge", "ipo", "cdpo", "simpo", "orpo", "cpo", "kto"]

DEFAULTS: dict[PreferenceLoss, dict[str, float]] = {
    "sigmoid": {"beta": 0.1},
    "hinge": {"beta": 0.1},
    "ipo": {"beta": 0.1},
    "cdpo": {"beta": 0.1, "label_smoothing": 0.1},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "orpo": {"weight": 0.1},
    "cpo": {"beta": 0.1, "weight": 1.0},
    "kto": {"beta": 0.1, "desirable": 1.0, "undesirable": 1.0},
}
"""The settings that each has, and what they are where nothing is said."""
NORMALISED = frozenset(("ipo", "simpo", "orpo"))
"""Losses over means. IPO too, as its author recommends, so that long answers do not count more."""
WITH_REFERENCE = frozenset(("sigmoid", "hinge", "ipo", "cdpo", "kto"))


class Knobs(NamedTuple):
    """`weight`: of the odds in ORPO, of the likelihood of the better answer in CPO."""

    beta: float = 0.1
    label_smoothing: float = 0.0
    gamma: float = 0.0
    weight: float = 0.0
    desirable: float = 1.0
    undesirable: float = 1.0
