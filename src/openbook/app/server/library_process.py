"""The library process: vectors of texts, and how well passages answer a query. Its models are loaded when first asked for.

One thread computes; texts of all calls that wait become one batch.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.errors import UsageError
from openbook.core.sandbox.frames import receive
from openbook.core.threads import set_thread_environment
from openbook.serving.link.answering import answer_calls

if TYPE_CHECKING:
    from openbook.library.embed.local import SentenceEmbedder
    from openbook.library.embed.pairs import CrossEncoder


def main(fd: int) -> None:
    """Answers ["embed", texts, kind] with [vectors as float32 bytes, tokens of each text] and ["rank", query, texts] with
    [scores, number of pairs that were cut]; does not return.
    """
    connection = socket.socket(fileno=fd)
    reader = connection.makefile("rb")
    setup = receive(reader)
    set_thread_environment(setup["threads"])
    from openbook.lm.kernels.cache_files import guard_cache_files

    guard_cache_files()
    answer_calls(connection, reader, _Models(setup["embedder"], setup["reranker"]).answer)


class _Models:
    def __init__(self, embedder: str, reranker: str | None) -> None:
        self._embedder_directory, self._reranker_directory = embedder, reranker
        self._embedder: SentenceEmbedder | None = None
        self._reranker: CrossEncoder | None = None

    def answer(self, calls: Sequence[list[Any]]) -> list[Any]:
        answers: list[Any] = [None] * len(calls)
        for kind in ("query", "passage"):
            places = [place for place, call in enumerate(calls) if call[0] == "embed" and call[2] == kind]
            if places:
                found = self._embed([calls[place][1] for place in places], kind)
                for place, one in zip(places, found, strict=True):
                    answers[place] = one
        for place, call in enumerate(calls):
            if call[0] == "rank":
                answers[place] = self._caught(call[1], call[2])
        return answers

    def _embed(self, lists: Sequence[list[str]], kind: str) -> list[Any]:
        """A text that is too long fails its own call alone."""
        if self._embedder is None:
            from openbook.library.embed.describe import describe_directory
            from openbook.library.embed.local import SentenceEmbedder

            self._embedder = SentenceEmbedder(describe_directory(Path(self._embedder_directory)))
        embedder = self._embedder
        found = embedder.embed_counted(list(chain.from_iterable(lists)), kind)  # type: ignore[arg-type]
        answers: list[Any] = []
        start = 0
        for texts in lists:
            counts = [len(embedder.tokens.spans(text)) for text in texts]
            cut = [place - start for place in found.truncated if start <= place < start + len(texts)]
            if cut:
                answers.append(_too_long(cut[0], counts[cut[0]], embedder.max_tokens))
            else:
                vectors = found.vectors[start : start + len(texts)]
                answers.append([vectors.astype("<f4").tobytes(), counts])
            start += len(texts)
        return answers

    def _caught(self, query: str, texts: list[str]) -> Any:
        try:
            if self._reranker is None:
                from openbook.library.embed.pairs import CrossEncoder

                self._reranker = CrossEncoder(Path(self._reranker_directory or ""))
            reranker = self._reranker
            before = reranker.truncated
            scores = reranker.rank(query, texts)
            return [[float(score) for score in scores], reranker.truncated - before]
        except Exception as error:
            return error


def _too_long(place: int, count: int, limit: int) -> UsageError:
    return UsageError(
        f"input[{place}] has {count:,} tokens, the embedder reads {limit:,} with its marks at both ends",
        "split the text into shorter ones",
    )
