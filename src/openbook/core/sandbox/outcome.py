"""What an untrusted program may use, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from openbook.core.errors import OpenbookError, UsageError

KilledBy = Literal["time", "cpu", "memory", "output", "disk", "files"]
"""The limit for which a program was ended."""


class SandboxUnavailable(OpenbookError):
    """This machine has no means, or none that runs, to shut an untrusted program in."""


@dataclass(frozen=True)
class Limits:
    """What one run may use. `UsageError` for a limit that is not positive."""

    seconds: float = 10.0
    """On the wall clock, the start included (some 100 ms)."""
    cpu_seconds: int = 10
    """Of processor time, over all threads and processes."""
    memory_bytes: int = 1 << 30
    """Of address space, each process; with several processes also of resident memory together, shared pages each time."""
    output_bytes: int = 1 << 20
    """Of stdout and stderr together; a program that writes more is ended."""
    disk_bytes: int = 64 << 20
    """In the private folder; each file, and together."""
    files: int = 1000
    """Files and folders in the private folder."""
    processes: int = 1
    """At once, the program itself included: 1 means that it starts none. Threads are apart: 32 at most with one process."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise UsageError(f"limit {field.name}={getattr(self, field.name)!r}", "give a number above 0")


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    exit: int
    """As a shell gives it: the program's own code, or 128 + N when signal N ended it."""
    stdout: bytes
    stderr: bytes
    seconds: float
    """On the wall clock, from the start of the sandbox to the end of its last process."""
    truncated: bool
    """The program wrote more than `output_bytes`; what came before is kept."""
    killed_by: KilledBy | None
    """The limit for which it was ended, or that it had passed when it ended; None when it kept to all. A program that is
    refused memory is not ended: it sees the error (Python: MemoryError)."""
