"""The verdicts of a run of judging, kept one by one: what is paid for is never lost, and never paid for again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from openbook.core.errors import BadData, UsageError
from openbook.training.judge.verdict import Verdict


class Journal:
    """A file beside the output: one line that says what was asked of whom, then a line for each verdict. A line is there
    whole or, after a crash in the middle of one, cut off and passed by.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Opens, or begins. UsageError for one of other settings, or that another process writes; BadData for a file that is
        none.
        """
        self.path = path
        self.verdicts: dict[str, Verdict] = {}
        kept = self._read(dict(settings)) if path.exists() else b""
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"another process writes {path}", "wait for it, or name another --out") from None
        if kept:
            self._file.truncate(len(kept))  # the line that was not finished
        else:
            self._file.truncate(0)
            self._write({"judging": dict(settings)})

    def add(self, verdict: Verdict) -> None:
        """It is on the disk when this returns."""
        self._write(verdict.as_json())
        self.verdicts[verdict.pair] = verdict

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, settings: dict[str, Any]) -> bytes:
        """What is whole of the file."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = list(_values(whole, self.path))
        if not lines:
            return b""
        before = lines[0].get("judging")
        if not isinstance(before, dict):
            raise BadData(f"{self.path} is no journal of judging", "name another --out")
        if changed := sorted(name for name in before | settings if before.get(name) != settings.get(name)):
            raise UsageError(
                f"{self.path} was begun with another {changed[0]}: {before.get(changed[0])!r}, now {settings.get(changed[0])!r}",
                "give the same, or name another --out",
            )
        for value in lines[1:]:
            verdict = Verdict.from_json(value)
            self.verdicts[verdict.pair] = verdict
        return whole


def _values(content: bytes, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.splitlines(), 1):
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("no object")
        except ValueError as error:
            raise BadData(
                f"{path} line {number} is broken: {error}", "remove the line; its pair is judged again"
            ) from None
        yield value
