"""Why a task of a worker has no result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FailureKind = Literal["error", "timeout", "memory", "crash"]


@dataclass(frozen=True)
class WorkerFailure:
    """Why a task has no result. `error` is the class name of the exception for kind "error", else ""."""

    kind: FailureKind
    message: str
    remedy: str
    error: str = ""
