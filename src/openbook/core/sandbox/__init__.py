"""Worker processes with limits, in which untrusted input is parsed: a hostile file fails alone.

Reading order: `failure` (why a task has no result), `frames` (what crosses the pipes), `limits`, `worker` (the loop of a
worker process), `process` (a worker as its parent sees it), `run` (the state of one `map`), `pool`.
"""

from openbook.core.sandbox.failure import WorkerFailure
from openbook.core.sandbox.pool import WorkerPool

__all__ = ["WorkerFailure", "WorkerPool"]
