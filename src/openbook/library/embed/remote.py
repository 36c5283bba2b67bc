"""An embedder behind an OpenAI-compatible `/v1/embeddings` URL."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable, UsageError
from openbook.core.keys import api_key, without_key
from openbook.core.messages import TextKind, TokenCounter
from openbook.library.embed.pooling import normalized
from openbook.lm.tokenizers.approximate import ApproximateTokens

if TYPE_CHECKING:
    import httpx

_BATCH_TEXTS = 64
_ATTEMPTS = 4
_TIMEOUT_S = 60.0
_RETRIED = {408, 409, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class RemoteEmbedderDescription:
    """`url` ends before "/embeddings". The dimension is unknown (None) until the endpoint has answered once.

    `languages` is what most served embedders claim; `max_tokens` a careful limit, since the endpoint names none.
    """

    url: str
    model: str
    max_tokens: int = 512
    languages: frozenset[str] = frozenset({"en", "zh"})
    dimension: int | None = None

    @property
    def name(self) -> str:
        return self.model or self.url

    @property
    def hash(self) -> str:
        """Of the model's name alone: the same model behind another host gives the same vectors."""
        return hashlib.sha256(f"openai-embeddings:{self.model or self.url}".encode()).hexdigest()

    @property
    def tokens(self) -> TokenCounter:
        return ApproximateTokens()


def describe_url(spec: str) -> RemoteEmbedderDescription:
    """`URL#MODEL`, e.g. http://127.0.0.1:11434/v1#nomic-embed-text; without #MODEL the endpoint chooses."""
    url, _, model = spec.partition("#")
    url = url.rstrip("/").removesuffix("/embeddings")
    if url.count("/") < 2 or not url.partition("://")[2]:
        raise UsageError(f"{spec!r} is not a URL of an embedder", "use http://HOST:PORT/v1#MODEL")
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError("the embedder's URL holds a user or password", "put the key in OPENBOOK_API_KEY")
    return RemoteEmbedderDescription(url, model)


class RemoteEmbedder:
    """Satisfies `core.messages.Embedder` over HTTP: batches, retries with growing pauses, errors that name the cure."""

    def __init__(self, description: RemoteEmbedderDescription, *, pause_s: float = 0.5) -> None:
        self.description = description
        self._pause_s = pause_s
        self._dimension: int | None = description.dimension
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def hash(self) -> str:
        return self.description.hash

    @property
    def max_tokens(self) -> int:
        return self.description.max_tokens

    @property
    def truncated(self) -> int:
        """0: the protocol does not say what an endpoint cuts."""
        return 0

    @property
    def languages(self) -> frozenset[str]:
        return self.description.languages

    @property
    def tokens(self) -> TokenCounter:
        return self.description.tokens

    @property
    def dimension(self) -> int:
        """Asks the endpoint with one short text when it is not known yet."""
        if self._dimension is None:
            self.embed(["dimension"], "query")
        assert self._dimension is not None
        return self._dimension

    def embed(self, texts: Sequence[str], kind: TextKind) -> NDArray[np.float32]:
        """(N, E) float32, L2-normalised. `kind` makes no difference: the protocol has no place for it."""
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        parts = [self._request(texts[at : at + _BATCH_TEXTS]) for at in range(0, len(texts), _BATCH_TEXTS)]
        return normalized(np.concatenate(parts))

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _request(self, texts: Sequence[str]) -> NDArray[np.float32]:
        body: dict[str, Any] = {"input": list(texts), "encoding_format": "float"}
        if self.description.model:
            body["model"] = self.description.model
        vectors = self._read(self._post(body), len(texts))
        with self._lock:
            self._dimension = self._dimension or vectors.shape[1]
            if vectors.shape[1] != self._dimension:
                raise self._error(f"sent {vectors.shape[1]} numbers a text after {self._dimension}", "name its #MODEL")
        return vectors

    def _post(self, body: dict[str, Any]) -> Any:
        import httpx

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reply = self._http().post(f"{self.description.url}/embeddings", json=body)
                if reply.is_success:
                    return reply.json()
                problem = f"answered {reply.status_code}: {reply.text[:300]}"
                if reply.status_code not in _RETRIED:
                    raise self._error(problem, _remedy(reply.status_code))
            except httpx.TransportError as error:
                problem = f"cannot be reached ({type(error).__name__}: {error})"
            except ValueError as error:
                raise self._error(f"sent no JSON: {error}", "check that the URL ends in /v1") from error
            if attempt < _ATTEMPTS:
                time.sleep(self._pause_s * 2 ** (attempt - 1))
        raise self._error(f"{problem}, {_ATTEMPTS} times", "start the server, or check the URL and the network")

    def _read(self, reply: Any, count: int) -> NDArray[np.float32]:
        try:
            rows = sorted(reply["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(f"sent another shape than an embeddings reply ({error!r})", "check the URL") from error
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            raise self._error(f"sent vectors of shape {vectors.shape} for {count} texts", "check the model")
        return vectors

    def _http(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                key = api_key()
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S)
            return self._client

    def _error(self, problem: str, remedy: str) -> ModelUnavailable:
        return ModelUnavailable(without_key(f"the embedder at {self.description.url} {problem}"), remedy)


def _remedy(status: int) -> str:
    match status:
        case 401 | 403:
            return "set OPENBOOK_API_KEY (or OPENAI_API_KEY) to a key that the endpoint accepts"
        case 404:
            return "check the URL (it should end in /v1) and the model's name after #"
        case 400 | 413 | 422:
            return "name a model after #, or split the library into smaller chunks"
        case _:
            return "check the endpoint"
