"""The ingest lease: one process at a time adds to a library; others read, and are told who holds it."""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path

import apsw

from openbook.core.errors import LibraryLocked
from openbook.library.catalogue.connection import transaction

STALE_S = 600.0
"""A holder on another machine that has not been heard of for this long is taken to be gone."""
BEAT_S = 60.0
"""How often a holder is heard of while it commits nothing."""


class IngestLease:
    """Held from `acquire` to `release`; a dead holder's is taken over at once on the same machine."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self._token = secrets.token_hex(8)

    def acquire(self) -> None:
        """Raises `LibraryLocked` that names the process which holds it."""
        with transaction(self._connection, self._path):
            held = self._connection.execute("SELECT pid, process_start, host, heartbeat FROM lease").fetchone()
            if held is not None and _is_alive(*held):
                raise LibraryLocked(
                    f"process {held[0]} on {held[2]} is adding to {self._path}", "wait for it, or end it, and try again"
                )
            self._connection.execute(
                "INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?, ?, ?)",
                (self._token, os.getpid(), _process_start(os.getpid()), socket.gethostname(), time.time()),
            )

    def beat(self) -> None:
        """Says that the holder is alive; inside a transaction of the caller.

        Raises `LibraryLocked` when another process has taken the lease over, so that the transaction is not committed.
        """
        self._connection.execute("UPDATE lease SET heartbeat = ? WHERE token = ?", (time.time(), self._token))
        if self._connection.changes():
            return
        other = self._connection.execute("SELECT pid, host FROM lease").fetchone()
        who = f"process {other[0]} on {other[1]}" if other else "another process"
        raise LibraryLocked(
            f"{who} has taken over adding to {self._path}, because this one was not heard of for {STALE_S:g} s",
            "nothing is lost: wait for it, then run the same command again",
        )

    def release(self) -> None:
        with transaction(self._connection, self._path):
            self._connection.execute("DELETE FROM lease WHERE token = ?", (self._token,))


def _is_alive(pid: int, process_start: str, host: str, heartbeat: float) -> bool:
    if host != socket.gethostname():
        return time.time() - heartbeat < STALE_S
    return _process_start(pid) == process_start != ""


def _process_start(pid: int) -> str:
    """Start time of a process as the kernel counts it, which tells it from a later one with the same number; "" when
    there is none. Where there is no /proc, the mere existence of the process.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        return status.rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
