"""Connections to the catalogue, and SQLite's errors in the words of Openbook."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from openbook.core.errors import CorruptLibrary, LibraryLocked, OpenbookError
from openbook.core.faults import fault_point
from openbook.library.catalogue.schema import prepare_schema
from openbook.library.catalogue.unwritable import may_be_written, open_unwritable, require_writable

CATALOGUE = "library.sqlite3"
_BUSY_MS = 10_000
_CHECKPOINT_PAGES = 2_000  # 8 MB


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises what SQLite says of `path` as an `OpenbookError` with a remedy."""
    try:
        yield
    except apsw.FullError as error:
        raise OpenbookError(
            f"no space is left for {path}", "free some space and run it again; nothing is lost"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError, apsw.FormatError) as error:
        raise CorruptLibrary(
            f"{path} is damaged: {error}", "run `openbook check --repair`, or restore a copy"
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise LibraryLocked(f"{path} is in use by another process", "try again when it has finished") from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.IOError) as error:
        raise OpenbookError(
            f"{path} cannot be used: {error}", "check that the folder exists and may be written"
        ) from error


def open_reader(directory: Path) -> apsw.Connection:
    """A connection that can only read. A reader sees one state of the library from its first statement to its commit.

    Where the library may not be written to it is read as it lies there, see `unwritable.py`.
    """
    path = directory / CATALOGUE
    with translated(path):
        if may_be_written(directory, path):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        else:
            connection = open_unwritable(path)
        _configure(connection)
        connection.pragma("query_only", True)
        return connection


def open_writer(directory: Path) -> apsw.Connection:
    """The connection that writes; creates the library where there is none. At most one in a process.

    WAL with `synchronous = NORMAL`: a killed process loses nothing that was committed; a power cut may take the last
    commits, never a part of one. Raises `OpenbookError` where it may not be written.
    """
    path = directory / CATALOGUE
    require_writable(directory, path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpenbookError(
            f"{directory} cannot be made: {error.strerror}", "check the permissions, or name another --library"
        ) from error
    with translated(path):
        connection = apsw.Connection(str(path))
        _configure(connection)
        _set_wal(connection)
        connection.pragma("synchronous", "normal")
        connection.set_wal_hook(_checkpoint)
        prepare_schema(connection)
        return connection


def _set_wal(connection: apsw.Connection) -> None:
    """The switch to WAL does not wait for others as other statements do."""
    for attempt in range(100):
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if attempt == 99:
                raise
            time.sleep(0.05)


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    connection.pragma("foreign_keys", True)
    connection.pragma("cache_size", -4_096)  # KiB; larger ones did not search or add faster, and grow with the library
    connection.pragma("mmap_size", 0)


def _checkpoint(connection: apsw.Connection, database: str, pages: int) -> int:
    """Moves the log into the file when it holds `_CHECKPOINT_PAGES`; readers may hold it back, then a later call does."""
    if pages >= _CHECKPOINT_PAGES:
        fault_point("checkpoint")
        try:
            connection.wal_checkpoint(database, mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return apsw.SQLITE_OK
        fault_point("checkpoint")
    return apsw.SQLITE_OK


@contextmanager
def transaction(connection: apsw.Connection, path: Path) -> Iterator[None]:
    """One write transaction: all of it or nothing."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            fault_point("commit")
            connection.execute("COMMIT")
            fault_point("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def reading(connection: apsw.Connection, path: Path) -> Iterator[None]:
    """One state of the library for every statement inside; may be nested."""
    with translated(path):
        if connection.in_transaction:
            yield
            return
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")
