"""Runs the transformer of an embedder: token ids in, the vectors of all tokens out, in a chosen precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.threads import available_cpus
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.kernels.cpu import cpu_features, why_not_int8
from openbook.lm.tokenizers.encoder import Encoded

if TYPE_CHECKING:
    from openbook.lm.families.bert import Bert

Precision = Literal["float32", "bfloat16", "int8"]
_GROUP_TOKENS = 512
"""Of the byte kernels: enough to hide what it costs to hand a group to a thread"""
_TORCH_GROUP_TOKENS = 2_048
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


class Encoder(Protocol):
    @property
    def precision(self) -> Precision: ...
    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E), the last layer at every token of the sequences, end to end. Not thread-safe."""
        ...


class TorchEncoder:
    """BERT through torch with packed weights."""

    def __init__(
        self,
        directory: Path,
        precision: Literal["float32", "bfloat16"],
        arrays: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """`arrays`: tensors to take in place of those of the encoder, by their names without "bert."."""
        from openbook.lm.families.bert import load_bert
        from openbook.lm.quantization.prepare import prepare

        self.precision: Precision = precision
        model = load_bert(directory)
        if arrays is not None:
            _replace(model, arrays)
        self._model = prepare(model, precision)

    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E) float32. Runs over some thousand tokens at a time, whose activations stay in the cache."""
        return np.concatenate([self._one(group) for group in _groups(sequences, _TORCH_GROUP_TOKENS)])

    def _one(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        import torch

        from openbook.lm.nn.batch import Batch

        batch = Batch.of([len(one.ids) for one in sequences], causal=False)
        ids = torch.tensor([number for one in sequences for number in one.ids])  # (N,)
        segments = torch.tensor([number for one in sequences for number in one.segments])  # (N,)
        with torch.inference_mode():
            out = self._model(ids, batch, segments=segments if segments.any() else None)
        vectors: NDArray[np.float32] = out.float().numpy()
        return vectors


def _replace(model: Bert, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    import torch

    own = dict(model.named_parameters())
    with torch.no_grad():
        for link in model.links():
            value = arrays.get(link.theirs.removeprefix("bert."))
            if link.ours in own and value is not None:
                own[link.ours].copy_(torch.from_numpy(value))


class Int8Encoder:
    """BERT in bytes through compiled kernels: no torch, one thread a group of texts, the same bits in any company."""

    precision: Precision = "int8"

    def __init__(self, directory: Path, arrays: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        """`arrays`: tensors to take in place of the directory's."""
        from openbook.lm.families.bert_int8 import Int8Bert

        self._model = Int8Bert(directory, arrays)
        self._threads = ThreadPoolExecutor(available_cpus(), "embed")

    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E) float32."""
        groups = _groups(sequences, _GROUP_TOKENS)
        if len(groups) == 1:
            return self._one(groups[0])
        return np.concatenate(list(self._threads.map(self._one, groups)))

    def _one(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        starts = np.cumsum([0, *(len(one.ids) for one in sequences)], dtype=np.int64)
        ids = np.array([number for one in sequences for number in one.ids], dtype=np.int64)
        segments = np.array([number for one in sequences for number in one.segments], dtype=np.int64)
        return self._model.forward(ids, segments, starts)


def _groups(sequences: Sequence[Encoded], size: int) -> list[Sequence[Encoded]]:
    """Neighbours of together at least `size` tokens."""
    groups, start, tokens = [], 0, 0
    for at, one in enumerate(sequences):
        tokens += len(one.ids)
        if tokens >= size or at == len(sequences) - 1:
            groups.append(sequences[start : at + 1])
            start, tokens = at + 1, 0
    return groups


def open_encoder(directory: Path, precision: Precision | Literal["auto"]) -> Encoder:
    """The encoder of a BERT directory. "auto": the fastest precision here that keeps the vectors' quality."""
    match precision:
        case "auto":
            return open_encoder(directory, fastest_precision(directory))
        case "int8":
            if missing := why_not_int8():
                raise ModelUnavailable(f"precision int8 {missing}", "use auto, bfloat16 or float32")
            return Int8Encoder(directory)
        case "float32" | "bfloat16":
            return TorchEncoder(directory, precision)
        case _:
            raise UsageError(f"precision {precision!r} is not known", f"use auto or one of {', '.join(PRECISIONS)}")


def fastest_precision(directory: Path) -> Precision:
    """int8 where the processor has VNNI and the kernels take the shape, else bfloat16 where it has that, else float32.

    Measured on SciFact and Cranfield, int8 with a step and an offset per token keeps nDCG@10 (benchmarks/embed.py).
    """
    from openbook.lm.families.bert_int8 import supports

    if not why_not_int8() and supports(BertConfig.read(directory)):
        return "int8"
    return "bfloat16" if "avx512bf16" in cpu_features() else "float32"
