"""The rewards of some completions, added up and each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openbook.training.rewards.sampled import Fault


@dataclass(frozen=True)
class Faulty:
    """`sample`: its place. `name`: of the reward."""

    sample: int
    name: str
    fault: Fault

    def __str__(self) -> str:
        return f"reward {self.name}, completion {self.sample}: {self.fault.kind}: {self.fault.message}"


@dataclass(frozen=True)
class RewardTable:
    """Of N completions. NaN: there is none, and the completion is to be left out."""

    total: NDArray[np.float64]
    """(N,) the weighted sum."""
    by_name: Mapping[str, NDArray[np.float64]]
    """(N,) of each reward, without its weight."""
    faults: tuple[Faulty, ...] = ()

    def means(self) -> dict[str, float]:
        """For the log: `reward`, `reward/NAME` over the completions that have one, and `reward_faults`, a count."""
        named = {"reward": self.total} | {f"reward/{name}": values for name, values in self.by_name.items()}
        return {name: _mean(values) for name, values in named.items()} | {"reward_faults": float(len(self.faults))}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
