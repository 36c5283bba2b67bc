"""The state of one `map` over a pool of workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
MAX_UNREAD_BYTES = 16 << 20
"""Results that wait to be taken; beyond this no further task is sent."""


class Run(Generic[T]):
    """The state of one `map`: tasks read but not given back, their results, and what must be sent again."""

    def __init__(self, source: Iterator[T]) -> None:
        self.source = source
        self.tasks: dict[int, T] = {}
        self.results: dict[int, tuple[Any, int]] = {}
        self.again: deque[int] = deque()
        self.first = 0
        self.count = 0
        self.exhausted = False
        self.unread_bytes = 0

    def next_number(self, window: int) -> int | None:
        """The next task to send; None while the window is full, too many results wait, or none is left."""
        if self.again:
            return self.again.popleft()
        if self.exhausted or len(self.tasks) >= window or (self.tasks and self.unread_bytes > MAX_UNREAD_BYTES):
            return None
        try:
            task = next(self.source)
        except StopIteration:
            self.exhausted = True
            return None
        self.tasks[self.count] = task
        self.count += 1
        return self.count - 1

    def put(self, number: int, value: Any, size: int) -> None:
        self.results[number] = (value, size)
        self.unread_bytes += size

    def take(self) -> tuple[T, Any]:
        value, size = self.results.pop(self.first)
        task = self.tasks.pop(self.first)
        self.unread_bytes -= size
        self.first += 1
        return task, value
