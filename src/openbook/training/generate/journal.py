"""What a long job has done so far, on the disk after each step: a stop at any moment costs the step under way, no more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from openbook.core.errors import BadData, UsageError

_END = b"\n"


def journal_of(out: Path) -> Path:
    """Beside the file that the job writes in the end."""
    return out.with_name(f"{out.name}.unfinished")


class Journal:
    """A file of JSON lines, the first of which says what job it is of. `entries`: what was there when it was opened."""

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        """UsageError for the journal of another job, and for one that another process has open."""
        self.path, self.entries = path, list[dict[str, Any]]()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = open(path, "ab+")  # noqa: SIM115
        try:
            _lock(self._file, path)
            self._read(job)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, entry: dict[str, Any]) -> None:
        """On the disk when this returns."""
        self._file.write(json.dumps(entry, ensure_ascii=False).encode(errors="replace") + _END)
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """The job is done."""
        self.path.unlink(missing_ok=True)

    def _read(self, job: dict[str, Any]) -> None:
        self._file.seek(0)
        whole = self._file.read()
        kept = whole[: whole.rfind(_END) + 1]  # a line that was cut by a crash is done again
        if len(kept) < len(whole):
            self._file.truncate(len(kept))
        lines = list(_parsed(kept, self.path))
        if not lines:
            self.add(job)
            return
        if lines[0] != job:
            changed = sorted(key for key in job.keys() | lines[0].keys() if job.get(key) != lines[0].get(key))
            raise UsageError(
                f"{self.path} is of another job: {', '.join(changed)} changed",
                "give the same again to go on with it, name another file to write, or delete it",
            )
        self.entries = lines[1:]


def _parsed(whole: bytes, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BadData(f"{path}:{number} is broken", "delete the file to begin again")
        yield value


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # a system without it: two jobs on one file are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another process writes {path}", "wait for it, or name another file") from None
