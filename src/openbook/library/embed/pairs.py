"""BERT over pairs of texts: a cross-encoder that ranks passages, and the next-sentence head that scores neighbours."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.library.embed.adapted import max_tokens, open_adapted
from openbook.library.embed.batches import token_batches
from openbook.library.embed.encoders import Precision
from openbook.lm.checkpoint import read_config
from openbook.lm.tokenizers.encoder import open_encoder_tokenizer

_BATCH_TOKENS = 8192
_HEADS = ("classifier", "cls.seq_relationship")
Floats = NDArray[np.float32]


class CrossEncoder:
    """Satisfies `core.messages.Reranker` with a BERT classifier of one label; the score is its sigmoid, in (0, 1).

    `adapter`: what was learned over the encoder in `directory`, its head included. `truncated` counts the pairs that were longer
    than the model reads.
    """

    def __init__(
        self, directory: Path, precision: Precision | Literal["auto"] = "float32", adapter: Path | None = None
    ) -> None:
        self.name = (adapter or directory).name
        self._model = _PairModel(directory, precision, num_labels=1, adapter=adapter)

    @property
    def precision(self) -> Precision:
        return self._model.precision

    @property
    def truncated(self) -> int:
        return self._model.truncated

    def rank(self, query: str, texts: Sequence[str]) -> Floats:
        """(N,) in (0, 1): relevance of each text to the query."""
        return _sigmoid(self.logits(query, texts))

    def logits(self, query: str, texts: Sequence[str]) -> Floats:
        """(N,) what `rank` takes the sigmoid of: it tells apart what is so sure that the sigmoid is 1."""
        logits: Floats = self._model.logits([(query, text) for text in texts])[:, 0]
        return logits


class NextSentence:
    """Satisfies `core.messages.Scorer` with BERT's next-sentence head: the probability that the second follows.

    `adapter`: what was learned over the encoder in `directory`, its head included.
    """

    def __init__(
        self, directory: Path, precision: Precision | Literal["auto"] = "float32", adapter: Path | None = None
    ) -> None:
        self._model = _PairModel(directory, precision, num_labels=2, adapter=adapter)

    @property
    def truncated(self) -> int:
        return self._model.truncated

    def score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """(N,) in [0, 1]. Label 0 of the head is "is next". Source: Devlin et al. 2018, section 3.1, task 2."""
        logits = self._model.logits(pairs, at_seam=True)
        return _sigmoid(logits[:, 0] - logits[:, 1])


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and the share 0
        shares: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return shares


class _PairModel:
    """A BERT with a pooled classifier; one batch at a time."""

    def __init__(
        self, directory: Path, precision: Precision | Literal["auto"], num_labels: int, adapter: Path | None = None
    ) -> None:
        found = open_adapted(directory, adapter, precision)
        name = next((one for one in _HEADS if f"{one}.weight" in found.head), None)
        got = 0 if name is None else len(found.head[f"{name}.weight"])
        if name is None or got != num_labels or "pooler.dense.weight" not in found.head:
            kind = (read_config(directory).get("architectures") or ["unknown"])[0]
            raise ModelUnavailable(
                f"{adapter or directory} ({kind}) has {got} labels over a pooled token, needed are {num_labels}",
                "use a cross-encoder with one label" if num_labels == 1 else "use a BERT saved with its NSP head",
            )
        self.truncated = 0
        self._encoder, self._labels = found.encoder, num_labels
        self.precision: Precision = found.encoder.precision
        self._pooler = found.linear("pooler.dense", directory)
        self._head = found.linear(name, directory)
        most = min(max_tokens(directory), max_tokens(adapter, directory) if adapter is not None else 1 << 30)
        self._tokenizer = open_encoder_tokenizer(directory, most)
        self._lock = threading.Lock()

    def logits(self, pairs: Sequence[tuple[str, str]], *, at_seam: bool = False) -> Floats:
        """(N, labels) of every pair, in the order given. `at_seam`: what is too long keeps the end of its first text."""
        encode = self._tokenizer.encode_seams if at_seam else self._tokenizer.encode_pairs
        encoded = encode(pairs) if pairs else []
        result = np.empty((len(encoded), self._labels), np.float32)
        with self._lock:
            self.truncated += sum(one.truncated for one in encoded)
            for places in token_batches([len(one.ids) for one in encoded], _BATCH_TOKENS):
                chosen = [encoded[place] for place in places]
                starts = np.cumsum([0, *(len(one.ids) for one in chosen)])[:-1]
                first = self._encoder.hidden(chosen)[starts]  # (B, E)
                pooled = np.tanh(first @ self._pooler[0].T + self._pooler[1])
                result[places] = pooled @ self._head[0].T + self._head[1]
        return result
