"""What a run says while it goes on: a line of JSON for each step and each evaluation.

`log.jsonl`: {"step", "loss", "rate", "norm", "weight", "tokens", "seconds", ...} and {"step", "eval_loss", ...}. A run that is
resumed takes back what was said behind its checkpoint, so that the log is that of one run. A number that is NaN or infinite is
null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from openbook.core.finite import finite
from openbook.core.paths import replacing

NAME = "log.jsonl"


class Log:
    """Appends to `RUN/log.jsonl`; each line is on the disk's way before the next step begins."""

    def __init__(self, run: Path, done: int = 0) -> None:
        self.path = run / NAME
        if self.path.exists():
            keep_until(self.path, done)
        self._file: IO[str] = self.path.open("a", encoding="utf-8")

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(_line(row))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def keep_until(path: Path, step: int) -> None:
    """Takes out what is behind `step`, and a line that was cut by a crash."""
    kept = [row for row in read_log(path) if row["step"] <= step]
    with replacing(path) as file:
        file.write("".join(map(_line, kept)).encode())


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a log; a line that is no row is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("step"), int):
                    yield row


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite(row), allow_nan=False) + "\n"
