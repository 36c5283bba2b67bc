"""Generations: one is active and answers; another may be building beside it, and takes its place when it is complete."""

from __future__ import annotations

import apsw

from openbook.core.errors import CorruptLibrary
from openbook.library.catalogue.rows import Generation
from openbook.library.catalogue.writes import delete_chunks

_COLUMNS = "id, state, splitter, embedder, embedder_hash, dimension, tokenizer_version"


def active_generation(connection: apsw.Connection) -> Generation:
    found = connection.execute(f"SELECT {_COLUMNS} FROM generations WHERE state = 'active'").fetchone()
    if found is None:
        raise CorruptLibrary("the library has no active generation", "run `openbook check --repair`")
    return Generation(*found)


def building_generation(connection: apsw.Connection) -> Generation | None:
    found = connection.execute(f"SELECT {_COLUMNS} FROM generations WHERE state = 'building'").fetchone()
    return Generation(*found) if found else None


def create_generation(
    connection: apsw.Connection,
    state: str,
    *,
    splitter: str,
    embedder: str | None,
    embedder_hash: str | None,
    dimension: int | None,
    tokenizer_version: str,
) -> int:
    connection.execute(
        "INSERT INTO generations (state, splitter, embedder, embedder_hash, dimension, tokenizer_version) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (state, splitter, embedder, embedder_hash, dimension, tokenizer_version),
    )
    return connection.last_insert_rowid()


def activate_generation(connection: apsw.Connection, generation_id: int) -> None:
    """Switches answers to `generation_id`; the one before is retired and its chunks are deleted."""
    connection.execute("UPDATE generations SET state = 'retired' WHERE state = 'active'")
    connection.execute("UPDATE generations SET state = 'active' WHERE id = ?", (generation_id,))
    drop_chunks_of_retired(connection)


def abandon_building(connection: apsw.Connection) -> None:
    """Drops what an unfinished `reembed` has made."""
    connection.execute("UPDATE generations SET state = 'retired' WHERE state = 'building'")
    drop_chunks_of_retired(connection)


def drop_chunks_of_retired(connection: apsw.Connection) -> None:
    delete_chunks(connection, "generation_id IN (SELECT id FROM generations WHERE state = 'retired')", ())
