"""Transactions, the lease, the schema, and errors in words."""

from __future__ import annotations

import threading

import apsw
import pytest

from openbook.core.errors import CorruptLibrary, LibraryLocked, OpenbookError, UsageError
from openbook.library.catalogue import reads
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.catalogue.connection import translated
from openbook.library.catalogue.lease import IngestLease, _is_alive, _process_start
from openbook.library.catalogue.schema import SCHEMA_VERSION


def test_a_failed_write_leaves_nothing(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with pytest.raises(ZeroDivisionError), catalogue.write() as connection:
        connection.execute("INSERT INTO collections (name) VALUES ('half')")
        raise ZeroDivisionError
    with catalogue.read() as connection:
        assert connection.execute("SELECT count(*) FROM collections").get == 1
        assert reads.state(connection) == 0
    with catalogue.write() as connection:
        connection.execute("INSERT INTO collections (name) VALUES ('whole')")
    with catalogue.read() as connection:
        assert connection.execute("SELECT count(*) FROM collections").get == 2
        assert reads.state(connection) == 1
    catalogue.close()


def test_a_reader_sees_one_state_from_beginning_to_end(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with catalogue.read() as reader:
        assert reader.execute("SELECT count(*) FROM collections").get == 1
        with catalogue.write() as writer:
            writer.execute("INSERT INTO collections (name) VALUES ('later')")
        assert reader.execute("SELECT count(*) FROM collections").get == 1
    with catalogue.read() as reader:
        assert reader.execute("SELECT count(*) FROM collections").get == 2
    catalogue.close()


def test_a_reader_cannot_write(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with pytest.raises(OpenbookError), catalogue.read() as connection:
        connection.execute("DELETE FROM collections")
    catalogue.close()


def test_no_library_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UsageError, match="openbook add"):
        Catalogue(tmp_path)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path):
    Catalogue(tmp_path, create=True).close()
    connection = apsw.Connection(str(tmp_path / "library.sqlite3"))
    connection.pragma("user_version", SCHEMA_VERSION + 1)
    connection.close()
    with pytest.raises(CorruptLibrary, match="newer Openbook"):
        Catalogue(tmp_path, create=True)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "library.sqlite3").write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    catalogue = Catalogue(tmp_path)
    with pytest.raises(CorruptLibrary, match=r"library\.sqlite3"), catalogue.read():
        pass


def test_a_full_disk_is_said_and_costs_nothing(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with catalogue.write() as connection:
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
    with pytest.raises(OpenbookError, match="no space is left"), catalogue.write() as connection:
        connection.execute("INSERT INTO meta VALUES ('big', zeroblob(1000000))")
    with catalogue.read() as connection:
        assert connection.execute("SELECT count(*) FROM meta WHERE key = 'big'").get == 0
    catalogue.close()


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with catalogue.ingest_lease(), catalogue.write() as connection:
        connection.execute("UPDATE lease SET pid = 999999999, process_start = '1'")
    with catalogue.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO lease SELECT 1, 'x', 999999999, '1', host, 0 FROM (SELECT 'h' AS host)"
        )
        connection.execute("UPDATE lease SET host = ?", (__import__("socket").gethostname(),))
    with catalogue.ingest_lease() as lease:
        assert isinstance(lease, IngestLease)
    catalogue.close()


def test_who_lost_the_lease_stops_before_its_next_commit(tmp_path):
    catalogue = Catalogue(tmp_path, create=True)
    with catalogue.ingest_lease():
        with catalogue.write() as connection:
            connection.execute("INSERT INTO collections (name) VALUES ('mine')")
        other = apsw.Connection(str(catalogue.path))
        other.execute("UPDATE lease SET token = 'x', pid = 7, host = 'elsewhere'")
        with pytest.raises(LibraryLocked, match="process 7 on elsewhere") as raised, catalogue.write() as connection:
            connection.execute("INSERT INTO collections (name) VALUES ('late')")
        assert "run the same command again" in raised.value.remedy
    assert other.execute("SELECT token FROM lease").get == "x"  # nor does it release what it does not hold
    assert "late" not in {row[0] for row in other.execute("SELECT name FROM collections")}
    other.close()
    with catalogue.write() as connection:  # outside the lease it writes as before
        connection.execute("INSERT INTO collections (name) VALUES ('later')")
    catalogue.close()


def test_the_holder_is_heard_of_while_it_computes(tmp_path, monkeypatch):
    monkeypatch.setattr("openbook.library.catalogue.catalogue.BEAT_S", 0.01)
    catalogue = Catalogue(tmp_path, create=True)
    beats = threading.Semaphore(0)
    beat = IngestLease.beat
    monkeypatch.setattr(IngestLease, "beat", lambda self: (beat(self), beats.release()))
    with catalogue.ingest_lease():
        with catalogue.read() as reader:
            first = reader.execute("SELECT heartbeat FROM lease").get
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)
        with catalogue.read() as reader:
            assert reader.execute("SELECT heartbeat FROM lease").get > first
    assert not [thread for thread in threading.enumerate() if thread.name == "ingest-lease"]
    catalogue.close()


def test_a_process_number_that_was_used_again_does_not_hold_the_lease():
    import os
    import socket

    host = socket.gethostname()
    start = _process_start(os.getpid())
    assert _is_alive(os.getpid(), start, host, 0.0)
    assert not _is_alive(os.getpid(), start + "0", host, 0.0)
    assert not _is_alive(os.getpid(), start, "elsewhere", 0.0)


def test_sqlite_errors_become_errors_with_a_remedy(tmp_path):
    for error in (apsw.FullError("x"), apsw.CorruptError("x"), apsw.BusyError("x"), apsw.CantOpenError("x")):
        with pytest.raises(OpenbookError) as raised, translated(tmp_path):
            raise error
        assert raised.value.remedy
