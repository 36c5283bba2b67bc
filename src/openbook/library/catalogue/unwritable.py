"""Reading a catalogue where nothing may be written: a read-only mount, another user's library, `chmod a-w`.

SQLite reads a database in WAL mode through a shared-memory file beside it, which it would make here and may not. Where
no log lies beside the database, all of it is in the one file, which is read as one that does not change; where a
writer's log and shared memory are there, they are read as they are; a log that cannot be read is an error, because what
was committed last is in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import apsw

from openbook.core.errors import OpenbookError

READ_COMMANDS = "search, ask, ls, show, export and doctor read it all the same"


def may_be_written(directory: Path, path: Path) -> bool:
    """Whether this process may change the database `path` and make files beside it in `directory`."""
    return os.access(directory, os.W_OK | os.X_OK) and (os.access(path, os.W_OK) or not path.exists())


def require_writable(directory: Path, path: Path) -> None:
    """Raises `OpenbookError` where a library is there and may not be changed."""
    if path.exists() and not may_be_written(directory, path):
        raise OpenbookError(
            f"the library in {directory} may not be written to",
            f"get the permission, or name another one with --library ({READ_COMMANDS})",
        )


def open_unwritable(path: Path) -> apsw.Connection:
    """A connection that reads `path` and makes no file. Raises `OpenbookError` when its log cannot be read."""
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    if has_log or path.with_name(path.name + "-shm").exists():
        try:
            return _opened(path, "mode=ro&readonly_shm=1")
        except apsw.Error as error:
            if has_log:
                raise OpenbookError(
                    f"the last changes of {path} are in {log.name}, which cannot be read here: {error}",
                    "run any openbook command on it where it may be written, which moves them into the library, "
                    "or copy the whole folder to where it may be",
                ) from error
    return _opened(path, "immutable=1")


def _opened(path: Path, how: str) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?{how}", flags=flags)
    try:
        connection.pragma("user_version")  # the first statement is what opens the files
    except apsw.Error:
        connection.close()
        raise
    return connection
