"""A library's catalogue: one writer connection a process, one reader connection a thread."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from openbook.core.errors import OpenbookError, UsageError
from openbook.library.catalogue.connection import CATALOGUE, open_reader, open_writer, reading, transaction
from openbook.library.catalogue.lease import BEAT_S, IngestLease

_COUNT_STATE = (
    "INSERT INTO meta VALUES ('state', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
)


class _Reader:
    """A thread's connection, which is closed when the thread has ended."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


def is_library(directory: Path) -> bool:
    """Whether a catalogue is there. Raises `OpenbookError` where that may not be seen."""
    try:
        return (directory / CATALOGUE).is_file()
    except OSError as error:
        raise OpenbookError(
            f"{directory} cannot be opened: {error.strerror}", "check the permissions, or name another --library"
        ) from error


class Catalogue:
    """The catalogue in `directory`. `read()` and `write()` give a connection inside a transaction.

    Raises `UsageError` when there is no library in `directory` and `create` is false.
    """

    def __init__(self, directory: Path, *, create: bool = False) -> None:
        self.directory = directory
        self.path = directory / CATALOGUE
        self._local = threading.local()
        self._write_lock = threading.RLock()
        self._writer: apsw.Connection | None = None
        self._lease: IngestLease | None = None
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        if create:
            self._connect_writer()
            return
        if not is_library(directory):
            raise UsageError(f"there is no library in {directory}", "`openbook add PATH` makes one")

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """One state of the library, whatever is committed meanwhile."""
        reader = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = _Reader(open_reader(self.directory))
            self._readers.add(reader)
        with reading(reader.connection, self.path):
            yield reader.connection

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """One transaction: committed whole at the end of the block, or not at all.

        Inside `ingest_lease` it raises `LibraryLocked`, and commits nothing, when the lease is no longer held.
        """
        with self._write_lock:
            writer = self._connect_writer()
            with transaction(writer, self.path):
                yield writer
                if self._lease is not None:
                    self._lease.beat()
                writer.execute(_COUNT_STATE)

    @contextmanager
    def ingest_lease(self) -> Iterator[IngestLease]:
        """Held inside the block; raises `LibraryLocked` when another process adds to the library.

        A thread says every `BEAT_S` seconds that the holder lives, however long it computes between two commits.
        """
        lease = IngestLease(self._connect_writer(), self.path)
        with self._write_lock:
            lease.acquire()
            self._lease = lease
        ended = threading.Event()
        heart = threading.Thread(target=self._beat_until, args=(ended, lease), name="ingest-lease", daemon=True)
        heart.start()
        try:
            yield lease
        finally:
            ended.set()
            heart.join()
            with self._write_lock:
                self._lease = None
                lease.release()

    def _beat_until(self, ended: threading.Event, lease: IngestLease) -> None:
        while not ended.wait(BEAT_S):
            try:
                with self._write_lock, transaction(self._connect_writer(), self.path):
                    lease.beat()
            except OpenbookError:  # a lost lease is said at the next commit; a busy or full disk may pass
                continue

    def close(self) -> None:
        for reader in list(self._readers):
            reader.connection.close()
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._local = threading.local()

    def _connect_writer(self) -> apsw.Connection:
        if self._writer is None:
            self._writer = open_writer(self.directory)
        return self._writer
