"""One process for what may hang or fall: a call has an answer, or a fault that says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from openbook.core.errors import OpenbookError, UsageError
from openbook.core.sandbox import WorkerFailure, WorkerPool
from openbook.training.rewards.sampled import Fault, FaultKind, Sampled, Score

_WORKER = "openbook.training.rewards.function_worker"
_PARTS = 4
"""A call for one completion alone has so much less time."""


class WorkerCall:
    """`target` of `function_worker` in a process of its own, which is replaced when it hangs or falls."""

    def __init__(
        self,
        target: str,
        arguments: Sequence[object],
        *,
        timeout_s: float,
        memory_bytes: int,
        initializer: str | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self._pool = WorkerPool(
            f"{_WORKER}:{target}",
            timeout_s=timeout_s,
            memory_bytes=memory_bytes,
            arguments=arguments,
            initializer=initializer and f"{_WORKER}:{initializer}",
            initargs=arguments if initializer else (),
        )

    def __call__(self, task: Any, timeout_s: float | None = None) -> Any:
        """What the target gave, or a `Fault`."""
        self._pool.timeout_s = timeout_s or self.timeout_s
        try:
            ((_, value),) = self._pool.map([task])
        except (OverflowError, TypeError, ValueError) as error:  # a row that msgpack does not carry
            return Fault("row", f"its row cannot be sent: {error}")
        return _fault(value) if isinstance(value, WorkerFailure) else value

    def scores(
        self, task_of: Callable[[Sequence[Sampled]], Any], samples: Sequence[Sampled], alone: bool = True
    ) -> list[Score]:
        """One call for all samples. Where it failed and `alone`: one for each, so that one completion does not take the reward of
        all others; together they take about as long as one call may.
        """
        if not samples:
            return []
        first = self(task_of(samples))
        if not isinstance(first, Fault):
            return list(first)
        if len(samples) == 1 or first.kind == "length" or not alone:
            return [first] * len(samples)
        began, found = time.monotonic(), list[Score]()
        for sample in samples:
            if time.monotonic() - began > self.timeout_s:
                found.append(first._replace(message=f"{first.message}; no time was left to ask for this one alone"))
                continue
            given = self(task_of([sample]), self.timeout_s / _PARTS)
            found.append(given if isinstance(given, Fault) else given[0])
        return found

    def check(self, task: Any, named: str, remedy: str) -> None:
        """UsageError where the process cannot start, as for a file that cannot be imported."""
        try:
            self(task)
        except OpenbookError as error:
            raise UsageError(f"{named} cannot be used: {_reason(error.message)}", remedy) from None

    def close(self) -> None:
        self._pool.close()


def _fault(failure: WorkerFailure) -> Fault:
    kinds: dict[str, FaultKind] = {"WrongLength": "length"}
    kind: FaultKind = kinds.get(failure.error, failure.kind)
    return Fault(kind, failure.message.removeprefix("WrongLength: ").removeprefix("OpenbookError: "))


def _reason(message: str) -> str:
    """Without the name of our own function."""
    return message.partition("cannot start: ")[2] or message
