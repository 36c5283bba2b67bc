"""Runs the transformer of an embedder: token ids in, the vectors of all tokens out, in a chosen precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.lm.tokenizers.fast import Encoded

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


class Encoder(Protocol):
    @property
    def precision(self) -> Precision: ...
    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E), the last layer at every token of the sequences, end to end. Not thread-safe."""
        ...


class TorchEncoder:
    """BERT through torch with packed weights."""

    def __init__(self, directory: Path, precision: Literal["float32", "bfloat16"]) -> None:
        from openbook.lm.families.bert import load_bert
        from openbook.lm.quantization.prepare import prepare

        self.precision: Precision = precision
        self._model = prepare(load_bert(directory), precision)

    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E) float32."""
        import torch

        from openbook.lm.nn.batch import Batch

        batch = Batch.of([len(one.ids) for one in sequences], causal=False)
        ids = torch.tensor([number for one in sequences for number in one.ids])  # (N,)
        segments = torch.tensor([number for one in sequences for number in one.segments])  # (N,)
        with torch.inference_mode():
            out = self._model(ids, batch, segments=segments if segments.any() else None)
        vectors: NDArray[np.float32] = out.float().numpy()
        return vectors


def open_encoder(directory: Path, precision: Precision | Literal["auto"]) -> Encoder:
    """The encoder of a BERT directory. "auto": the fastest precision here that keeps the vectors' quality."""
    match precision:
        case "auto":
            return TorchEncoder(directory, "float32")
        case "float32" | "bfloat16":
            return TorchEncoder(directory, precision)
        case _:
            raise UsageError(f"precision {precision!r} is not known", f"use auto or one of {', '.join(PRECISIONS)}")
