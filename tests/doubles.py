"""Doubles that satisfy the protocols of `core.messages`: deterministic, instant, and honest about what they are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from openbook.core.messages import ChatRequest, Completion, ModelLimits, TextKind, TokenCounter, TokenVectors
from openbook.lm.tokenizers.approximate import ApproximateTokens


class HashEmbedder:
    """An `Embedder` whose vectors are sums of one fixed random vector a word: texts that share words are near."""

    def __init__(
        self, dimension: int = 32, name: str = "hash", languages: frozenset[str] = frozenset({"en", "zh"})
    ) -> None:
        self.dimension = dimension
        self.name = name
        self.languages = languages
        self.max_tokens = 256
        self.tokens: TokenCounter = ApproximateTokens()
        self.truncated = 0

    @property
    def hash(self) -> str:
        return f"{self.name}-{self.dimension}"

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        rows = [self._vector(text) for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), self.dimension)

    def _vector(self, text: str) -> NDArray[np.float32]:
        total = np.full(self.dimension, 1e-3)
        for word in text.lower().split() or [text]:
            total = total + np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.dimension)
        return (total / np.linalg.norm(total)).astype(np.float32)


class ScriptedModel:
    """A `ChatModel` that answers from a script, in order, and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.name = "scripted"
        self.limits = ModelLimits()
        self.requests: list[ChatRequest] = []
        self._answers = list(answers)

    def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        return Completion(self._answers.pop(0), "stop")

    def stream(self, request: ChatRequest) -> Iterator[str]:
        yield from self.complete(request).text

    def complete_many(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, Completion | Exception]]:
        for number, request in enumerate(requests):
            yield number, self.complete(request)


class WordEmbedder(HashEmbedder):
    """A `TokenEmbedder` whose tokens are words: the same word has the same vector everywhere."""

    def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [self._tokens(text) for text in texts]

    def _tokens(self, text: str) -> TokenVectors:
        places = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)][: self.max_tokens - 2]
        rows = [self._vector(text[start:end]) for start, end in places]
        vectors = np.array(rows, np.float32).reshape(len(rows), self.dimension)
        return TokenVectors(vectors, np.array(places, np.int64).reshape(-1, 2))
