"""Completions from a server: several requests at a time, in the order of the prompts, with the weights brought to it before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from openbook.core.errors import ModelUnavailable, RunStopped
from openbook.training.rollouts.completion_server import CompletionServer
from openbook.training.rollouts.push import WeightPush
from openbook.training.rollouts.written import Prompted, Renewal, Written

A = TypeVar("A")
B = TypeVar("B")
_MOST_COMPLETIONS = 64
_MOST_TOKENS = 40_000
"""Of one reply, so that it stays below what is read of one."""


class RemoteWriter:
    """`push`: None for a server whose weights stay. `max_num_seqs`: completions that are asked for at a time."""

    def __init__(
        self, server: CompletionServer, push: WeightPush | None, *, temperature: float, max_num_seqs: int
    ) -> None:
        self._server, self._push = server, push
        self._temperature, self._most = temperature, max_num_seqs

    def renew(self) -> Renewal:
        if self._push is None:
            return Renewal()
        try:
            return self._push.push()
        except RunStopped:
            self._server.close()
            raise

    def rest(self) -> None:
        self._server.close()

    def write(self, prompts: Sequence[Prompted]) -> list[list[Written]]:
        """RunStopped with the reason where the server does not answer as it must; what was written is then forgotten."""
        parts = [(place, part) for place, one in enumerate(prompts) for part in _parts(one)]
        width = max((part.n for _, part in parts), default=1)
        try:
            answers = at_once(
                lambda part: self._server.write(part[1], self._temperature), parts, max(1, self._most // width)
            )
        except ModelUnavailable as error:
            remedy = f"{error.remedy}; " if error.remedy else ""
            raise RunStopped(error.message, f"{remedy}go on with --resume when it answers") from None
        found: list[list[Written]] = [[] for _ in prompts]
        for (place, _), written in zip(parts, answers, strict=True):
            found[place] += written
        return found


def _parts(asked: Prompted) -> list[Prompted]:
    """Its completions in requests that a server takes, each with the seeds that it would have had."""
    size = max(1, min(_MOST_COMPLETIONS, _MOST_TOKENS // asked.max_tokens))
    return [asked._replace(n=min(size, asked.n - first), seed=asked.seed + first) for first in range(0, asked.n, size)]


def at_once(function: Callable[[A], B], given: Sequence[A], most: int) -> list[B]:
    """`function` of each, `most` at a time, in order. After an error nothing more is begun, and it is raised when the calls that
    are under way have ended; for a Ctrl-C nobody waits, so that a server which hangs does not hold it up.
    """
    left: SimpleQueue[tuple[int, A]] = SimpleQueue()
    done: SimpleQueue[tuple[int, B | Exception]] = SimpleQueue()
    ended = threading.Event()
    for pair in enumerate(given):
        left.put(pair)

    def work() -> None:
        while not ended.is_set() and not left.empty():
            try:
                place, one = left.get_nowait()
            except Empty:  # another thread took the last one
                return
            try:
                done.put((place, function(one)))
            except Exception as error:
                ended.set()
                done.put((place, error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(given)))]
    for one in threads:
        one.start()
    found: dict[int, B] = {}
    try:
        while len(found) < len(given):
            place, answer = done.get()
            if isinstance(answer, Exception):
                for one in threads:
                    one.join()
                raise answer
            found[place] = answer
    finally:
        ended.set()
    return [found[place] for place in range(len(given))]
