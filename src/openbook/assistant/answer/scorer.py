"""A small network kept as plain numbers in a JSON file, and how it is evaluated: readable, no pickle.

y = w2 . relu(W1 ((x - mean) / scale) + b1) + b2 + direct . ((x - mean) / scale)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import OpenbookError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """`columns` (F,) names what it reads; `mean`, `scale`, `direct` (F,); `hidden` (H, F), `bias`, `out` (H,)."""

    columns: tuple[str, ...]
    mean: Matrix
    scale: Matrix
    direct: Matrix
    hidden: Matrix
    bias: Matrix
    out: Matrix
    offset: float

    @classmethod
    def from_json(cls, row: dict[str, Any], columns: tuple[str, ...]) -> Network:
        """Raises `OpenbookError` when it was fitted to other columns than the code has."""
        if tuple(row["columns"]) != columns:
            raise OpenbookError("the fitted weights are for other columns", "run benchmarks/fit_answers.py again")
        arrays = {name: np.asarray(row[name], np.float64) for name in ("mean", "scale", "direct", "bias", "out")}
        hidden = np.asarray(row["hidden"], np.float64).reshape(len(arrays["bias"]), len(columns))
        return cls(columns, hidden=hidden, offset=float(row["offset"]), **arrays)

    def __call__(self, features: Matrix) -> Matrix:
        """features: (N, F) -> (N,)"""
        x = (features - self.mean) / self.scale  # (N, F)
        inner = np.maximum(x @ self.hidden.T + self.bias, 0.0)  # (N, H)
        result: Matrix = inner @ self.out + x @ self.direct + self.offset
        return result


@cache
def fitted() -> dict[str, Any]:
    """`weights.json`: for each language the network of the sentences and that of the confidence with its thresholds."""
    table: dict[str, Any] = json.loads((files(__package__) / "weights.json").read_text("utf-8"))
    return table
