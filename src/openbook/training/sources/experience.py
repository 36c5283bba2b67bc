"""Answers that a policy has written, with all that PPO learns from: what each token was thought to be worth, and what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from openbook.training.sources.answers import Answers

Told = Mapping[str, tuple[float, float]]
"""Name -> (sum, weight), as the metrics of a `LossSum`."""


@dataclass(frozen=True)
class Experience(Answers):
    """Of each of the M tokens, (M,) float32: `old`, its log-probability when the answers were judged; `values` of then;
    `advantages` and `returns`. told: of the whole rollout, in one micro-batch of each step.
    """

    old: Tensor = field(default_factory=lambda: torch.empty(0))
    values: Tensor = field(default_factory=lambda: torch.empty(0))
    advantages: Tensor = field(default_factory=lambda: torch.empty(0))
    returns: Tensor = field(default_factory=lambda: torch.empty(0))
    told: Told = field(default_factory=dict)

    def shown(self) -> tuple[list[int], list[bool]]:
        return self.shown_at(0)

    @classmethod
    def known(cls, micro: Answers, old: Tensor, values: Tensor, advantages: Tensor, returns: Tensor) -> Self:
        return cls(**vars(micro), old=old, values=values, advantages=advantages, returns=returns)

    def with_told(self, told: Told) -> Self:
        return replace(self, told=told)

    def state(self) -> dict[str, Any]:
        """As JSON, to the bit: a number of float32 is its own in Python's."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: one.tolist() if isinstance(one, Tensor) else one for name, one in found.items()}

    @classmethod
    def resumed(cls, state: Mapping[str, Any]) -> Self:
        whole = {name: torch.tensor(state[name], dtype=torch.int64) for name in ("ids", "rows", "targets", "owners")}
        names = ("counts", "old", "values", "advantages", "returns")
        real = {name: torch.tensor(state[name], dtype=torch.float32) for name in names}
        told = {name: (a, b) for name, (a, b) in state["told"].items()}
        return cls(**whole, **real, lengths=list(state["lengths"]), told=told)


def in_order(micro: Answers) -> Tensor:
    """(S,) the answers as their tokens follow each other. Each has tokens."""
    is_first = torch.ones(len(micro.owners), dtype=torch.bool)
    is_first[1:] = micro.owners.diff() != 0
    return micro.owners[is_first]
