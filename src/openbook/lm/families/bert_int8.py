"""BERT in bytes, from the checkpoint to the last layer, without torch: the fastest path where the CPU has VNNI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.lm.checkpoint import missing, read_arrays, strip_prefix
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.quantization.int8 import Int8Weights, int8_weights, stack

Floats = NDArray[np.float32]


def supports(config: BertConfig) -> bool:
    """Whether the kernels take this shape: sizes in whole panels of 64, heads of 32, 64, ..., the exact GELU."""
    whole = config.hidden_size % 64 == 0 and config.intermediate_size % 64 == 0
    return whole and config.head_dim % 32 == 0 and config.activation == "gelu"


class Int8Bert:
    """The encoder's last layer for ragged input. Weights per output and activations per token are 8 bits wide."""

    def __init__(self, directory: Path, arrays: Mapping[str, Floats] | None = None) -> None:
        """`arrays`: the tensors, where they are not those of the directory but e.g. have an adapter in them."""
        config = BertConfig.read(directory)
        if not supports(config):
            raise ModelUnavailable(f"{directory} has a shape that int8 cannot take", "use bfloat16 or float32")
        arrays = encoder_arrays(directory) if arrays is None else arrays
        self.config = config
        tables = [_take(arrays, f"embeddings.{name}.weight", directory) for name in _EMBEDDINGS]
        norm = np.stack([_take(arrays, f"embeddings.LayerNorm.{part}", directory) for part in ("weight", "bias")])
        self._tables = tuple(np.ascontiguousarray(table) for table in (*tables, norm))
        layers = [_Layer(arrays, f"encoder.layer.{i}.", config, directory) for i in range(config.num_layers)]
        self._weights = tuple(tuple(stack([getattr(one, part) for one in layers])) for part in _PARTS)
        self._norms = np.stack([one.norms for one in layers])  # (L, 4, E)

    def forward(self, ids: NDArray[np.int64], segments: NDArray[np.int64], starts: NDArray[np.int64]) -> Floats:
        """ids, segments: (N,), starts: (S + 1,) -> (N, E), the last layer. Gives up the GIL; thread-safe.

        Raises IndexError for an id, a segment or a length that the model does not have: the kernel checks nothing.
        """
        from openbook.lm.kernels.int8_encoder import encode

        limits = (self.config.vocab_size, self.config.num_segments, self.config.max_positions + 1)
        for what, values, limit in zip(
            ("id", "segment", "length"), (ids, segments, np.diff(starts)), limits, strict=True
        ):
            if len(values) and not 0 <= values.min() <= values.max() < limit:
                raise IndexError(f"{what} {values.max()} or {values.min()} is outside 0..{limit - 1}")
        hidden = np.empty((len(ids), self.config.hidden_size), np.float32)
        eps = np.float32(self.config.norm_eps)
        encode(hidden, starts, ids, segments, self._tables, self.config.num_heads, eps, *self._weights, self._norms)
        return hidden


def encoder_arrays(directory: Path) -> dict[str, Floats]:
    """All tensors of a BERT directory in float32, by their names without "bert.", as today's checkpoints have them."""
    arrays = {name: np.asarray(a, np.float32) for name, a in strip_prefix(read_arrays(directory), "bert.").items()}
    table = {"gamma": "weight", "beta": "bias"}
    return {".".join([*(p := name.split("."))[:-1], table.get(p[-1], p[-1])]): a for name, a in arrays.items()}


_EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_PARTS = ("qkv", "out", "up", "down")


class _Layer:
    """One layer's quantised weights. Queries are scaled by 1 / sqrt(head_dim) here instead of at every score."""

    def __init__(self, arrays: Mapping[str, Floats], prefix: str, config: BertConfig, directory: Path) -> None:
        def take(name: str) -> Floats:
            return _take(arrays, prefix + name, directory)

        def linear(name: str) -> Int8Weights:
            return int8_weights(take(f"{name}.weight"), take(f"{name}.bias"))

        scale = np.float32(config.head_dim**-0.5)
        scales: Sequence[tuple[str, np.float32]] = (("query", scale), ("key", np.float32(1)), ("value", np.float32(1)))
        weight = np.concatenate([take(f"attention.self.{name}.weight") * factor for name, factor in scales])
        bias = np.concatenate([take(f"attention.self.{name}.bias") * factor for name, factor in scales])
        self.qkv = int8_weights(weight, bias)  # (3E, E)
        self.out = linear("attention.output.dense")
        self.up = linear("intermediate.dense")
        self.down = linear("output.dense")
        names = (f"{where}.LayerNorm.{what}" for where in ("attention.output", "output") for what in ("weight", "bias"))
        self.norms = np.stack([take(name) for name in names])  # (4, E)


def _take(arrays: Mapping[str, Floats], name: str, directory: Path) -> Floats:
    missing([name], arrays, directory)
    return arrays[name]
