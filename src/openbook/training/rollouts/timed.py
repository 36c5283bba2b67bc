"""Calls of a user's code that may hang: each has an answer within its time, or an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

A = TypeVar("A")


class Timed:
    """Calls run one after the other in a thread of their own. One that hangs keeps its thread, which nothing can end before the
    process ends; those after it get another one. `seconds`: of a call.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[object]]] | None = None

    def __call__(self, function: Callable[[], A]) -> A:
        """What `function` gives or raises; TimeoutError where it takes too long."""
        if self._calls is None:
            self._calls = SimpleQueue()
            threading.Thread(target=_work, args=(self._calls,), daemon=True).start()
        answer: SimpleQueue[A | _Raised] = SimpleQueue()
        self._calls.put((function, answer))  # type: ignore[arg-type]
        try:
            found = answer.get(timeout=self.seconds)
        except Empty:
            self._calls = None
            raise TimeoutError(f"it took more than {self.seconds:g} s") from None
        if isinstance(found, _Raised):
            raise found.error
        return found


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _work(calls: SimpleQueue[tuple[Callable[[], object], SimpleQueue[object]]]) -> None:
    while True:
        function, answer = calls.get()
        try:
            answer.put(function())
        except Exception as error:  # of the user's code: it is raised where it was called
            answer.put(_Raised(error))
