"""From the vectors of the tokens to the vector of the text, as sentence-transformers does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import read_arrays
from openbook.lm.sentence import DenseStep, Pooling, Recipe

Vectors = NDArray[np.float32]


def pool(hidden: Vectors, starts: NDArray[np.int64], pooling: Pooling) -> Vectors:
    """hidden: (N, E) of S texts end to end; starts: (S + 1,) -> (S, E)."""
    lengths = np.diff(starts)[:, None].astype(np.float32)
    match pooling:
        case "mean":
            return np.divide(np.add.reduceat(hidden, starts[:-1], axis=0), lengths, dtype=np.float32)
        case "mean_sqrt_len":
            return np.divide(np.add.reduceat(hidden, starts[:-1], axis=0), np.sqrt(lengths), dtype=np.float32)
        case "max":
            return np.maximum.reduceat(hidden, starts[:-1], axis=0)
        case "cls":
            return hidden[starts[:-1]]


class Finish:
    """What follows the pooling: dense steps, then the length."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        self._dense = [_read_dense(directory, step) for step in recipe.dense]

    def __call__(self, pooled: Vectors) -> Vectors:
        """(S, E) -> (S, dimension) of length 1.

        `Embedder` promises normalised vectors, so they are normalised also where the recipe has no such module:
        the ranking by cosine is the same.
        """
        for weight, bias, activation in self._dense:
            pooled = pooled @ weight.T + bias
            pooled = np.tanh(pooled) if activation == "tanh" else pooled
        return normalized(pooled)


def normalized(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _read_dense(directory: Path, step: DenseStep) -> tuple[Vectors, Vectors, str]:
    arrays = read_arrays(directory / step.path)
    weight = np.asarray(arrays.get("linear.weight"), dtype=np.float32)
    bias = np.asarray(arrays.get("linear.bias", np.zeros(step.out_features)), dtype=np.float32)
    if weight.shape != (step.out_features, step.in_features):
        raise ModelUnavailable(f"{directory / step.path} has weights {weight.shape}", "copy the checkpoint again")
    return weight, bias, step.activation
