"""Worker processes with limits, in which untrusted input is parsed, and sandboxes, in which untrusted programs run.

Reading order for workers: `failure` (why a task has no result), `frames` (what crosses the pipes), `limits`, `worker` (the
loop of a worker process), `process` (a worker as its parent sees it), `run` (the state of one `map`), `pool`.

For programs: `outcome` (limits and results), `sandbox` (the entrance), `launch` and `launcher` (a process shuts itself in),
`means` (what the machine has), `syscalls` and `seccomp`, `bubblewrap`, `supervise`, `members` and `folder`.
"""

from openbook.core.sandbox.failure import WorkerFailure
from openbook.core.sandbox.pool import WorkerPool

__all__ = ["WorkerFailure", "WorkerPool"]
