"""What the library process does for the server: embed texts, rank passages; and what it is told when none is configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from openbook.app.server.errors import Refused
from openbook.app.server.settings import ServerSettings
from openbook.core.threads import available_cpus
from openbook.library.embed.describe import LocalEmbedderDescription, describe_default, describe_directory
from openbook.lm.families.bert_config import BertConfig
from openbook.serving.link.worker import Worker

_MODULE = "openbook.app.server.library_process"
_NICE = 10
"""Measured: a second process of torch slows a step of the engine 3.7 times at equal priority, 1.8 times at nice 10."""


class Embedded(NamedTuple):
    """`vectors`: float32 bytes, little-endian, of each text. `tokens`: of all."""

    vectors: list[bytes]
    tokens: int


class Ranked(NamedTuple):
    """`truncated`: pairs of which only the beginning was read."""

    scores: list[float]
    truncated: int


class Texts:
    """An embedder and a reranker in a process of their own, which begins at the first call."""

    def __init__(self, settings: ServerSettings) -> None:
        """ModelUnavailable for an embedder or a reranker that cannot be used, as far as its settings tell."""
        self._max_queue = settings.max_queue
        self.embedder: LocalEmbedderDescription | None = (
            describe_directory(settings.embedder) if settings.embedder is not None else describe_default()
        )
        if settings.reranker is not None:
            BertConfig.read(settings.reranker)
        self.reranker_name = settings.reranker.name if settings.reranker is not None else None
        setup = {
            "embedder": str(self.embedder.directory) if self.embedder is not None else "",
            "reranker": str(settings.reranker) if settings.reranker is not None else None,
            "threads": max(1, (settings.engine.threads or available_cpus()) // 2),
        }
        self._worker = Worker(_MODULE, setup, nice=_NICE)

    async def embed(self, texts: Sequence[str], kind: str) -> Embedded:
        if self.embedder is None:
            raise Refused(
                501, "no embedder is configured: run `openbook setup embedder`, or serve with --embedder DIR",
                code="not_configured",
            )  # fmt: skip
        self._check(texts)
        data, counts = await self._worker.call("embed", list(texts), kind)
        size = 4 * self.embedder.dimension
        return Embedded([data[start : start + size] for start in range(0, len(data), size)], sum(counts))

    async def rank(self, query: str, texts: Sequence[str]) -> Ranked:
        if self.reranker_name is None:
            raise Refused(
                501, "no reranker is configured: serve with --reranker DIR, a BERT with a head of one score",
                code="not_configured",
            )  # fmt: skip
        self._check([query, *texts])
        return Ranked(*await self._worker.call("rank", query, list(texts)))

    async def close(self) -> None:
        await self._worker.close()

    def _check(self, texts: Sequence[str]) -> None:
        if self._worker.num_waiting >= self._max_queue:
            raise Refused(
                429, f"{self._max_queue:,} calls wait already: ask again", code="queue_full",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        for place, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Refused(400, f"text {place} has a lone surrogate, which is no character: take it out") from None
