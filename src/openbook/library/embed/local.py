"""The embedder of a sentence-transformers directory on this machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.messages import TextKind, TokenCounter, TokenVectors
from openbook.core.threads import available_cpus
from openbook.library.embed.batches import token_batches
from openbook.library.embed.describe import LocalEmbedderDescription
from openbook.library.embed.encoders import Encoder, Precision, open_encoder
from openbook.library.embed.pooling import Finish, Vectors, normalized, pool
from openbook.lm.tokenizers.encoder import Encoded, open_encoder_tokenizer

_BATCH_TOKENS = 8192
_TEXTS_PER_TASK = 64


_NOTHING = TokenVectors(np.empty((0, 0), np.float32), np.empty((0, 2), np.int64))


class Embedded(NamedTuple):
    """`vectors` (N, E). `truncated`: the places of the texts of which the model read only the first tokens."""

    vectors: Vectors
    truncated: tuple[int, ...]


class SentenceEmbedder:
    """Satisfies `core.messages.Embedder`. The weights are read at the first use; one text batch runs at a time.

    A text's vector does not depend on the texts that are embedded with it, beyond rounding (int8: not at all).
    """

    def __init__(self, description: LocalEmbedderDescription, precision: Precision | Literal["auto"] = "auto") -> None:
        self.description = description
        self.truncated = 0
        """How many texts were longer than `max_tokens` so far: only their beginning is in their vector."""
        transformer = description.directory / description.recipe.transformer
        self._wanted: Precision | Literal["auto"] = precision
        self._transformer = transformer
        self._tokenizer = open_encoder_tokenizer(transformer, description.max_tokens)
        self._finish = Finish(description.directory, description.recipe)
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def hash(self) -> str:
        return self.description.hash

    @property
    def dimension(self) -> int:
        return self.description.dimension

    @property
    def max_tokens(self) -> int:
        return self.description.max_tokens

    @property
    def languages(self) -> frozenset[str]:
        return self.description.languages

    @property
    def tokens(self) -> TokenCounter:
        return self.description.tokens

    @property
    def precision(self) -> Precision:
        """What "auto" became."""
        with self._lock:
            return self._loaded().precision

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        """(N, E) float32, L2-normalised; `truncated` counts the texts that were too long."""
        return self.embed_counted(texts, kind).vectors

    def embed_counted(self, texts: Sequence[str], kind: TextKind) -> Embedded:
        """As `embed`, and which of these texts were cut at `max_tokens`."""
        prompt = self.description.recipe.prompts.get(kind, "")
        encoded = self._tokenize([prompt + text for text in texts] if prompt else texts)
        vectors = np.empty((len(encoded), self.dimension), np.float32)
        with self._lock:
            for places in token_batches([len(one.ids) for one in encoded], _BATCH_TOKENS):
                vectors[places] = self._vectors([encoded[place] for place in places])
            cut = tuple(place for place, one in enumerate(encoded) if one.truncated)
            self.truncated += len(cut)
        return Embedded(vectors, cut)

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The last layer at every token of each text, of length 1, without pooling and without a prompt."""
        located = self._tokenizer.encode_located(texts)
        found: list[TokenVectors] = [_NOTHING] * len(located)
        with self._lock:
            for places in token_batches([len(one.encoded.ids) for one in located], _BATCH_TOKENS):
                chosen = [located[place] for place in places]
                hidden = self._loaded().hidden([one.encoded for one in chosen])
                starts = np.cumsum([0, *(len(one.encoded.ids) for one in chosen)])
                for place, one, start in zip(places, chosen, starts[:-1].tolist(), strict=True):
                    rows = normalized(hidden[start : start + len(one.encoded.ids)][one.places])
                    found[place] = TokenVectors(rows, np.array(one.spans, np.int64).reshape(-1, 2))
        return found

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = open_encoder(self._transformer, self._wanted)
        return self._encoder

    def _tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """On all processors when there are many: the library gives up the GIL in a batch."""
        if len(texts) <= _TEXTS_PER_TASK:
            return self._tokenizer.encode(texts) if texts else []
        parts = [texts[start : start + _TEXTS_PER_TASK] for start in range(0, len(texts), _TEXTS_PER_TASK)]
        with ThreadPoolExecutor(available_cpus()) as pool_of_threads:
            return list(chain.from_iterable(pool_of_threads.map(self._tokenizer.encode, parts)))

    def _vectors(self, sequences: Sequence[Encoded]) -> Vectors:
        starts = np.cumsum([0, *(len(one.ids) for one in sequences)], dtype=np.int64)  # (S + 1,)
        hidden = self._loaded().hidden(sequences)
        return self._finish(pool(hidden, starts, self.description.recipe.pooling))
