"""The derived indexes of the active generation: a file each, what came since in memory, and what went masked.

A search first brings them up to the state that its own transaction sees, so that a document is found by the first
search after its commit. The files are made again, beside and renamed, when too much has gathered above them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import CorruptLibrary, OpenbookError
from openbook.core.faults import fault_point
from openbook.library.catalogue.catalogue import Catalogue
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.logs import log_sizes, trim_logs, trimmed_to
from openbook.library.catalogue.packing import unpack_vectors
from openbook.library.catalogue.rows import Generation
from openbook.library.derived import open_derived
from openbook.library.lexical.bm25 import Bm25Index
from openbook.library.vectors.exact import ExactIndex

DERIVED = "derived"
MOST_IN_MEMORY = 8_192
"""Chunks above the base files that a search may hold in memory."""
_READ_ROWS = 1_024


@dataclass
class Indexes:
    """Both indexes of one generation, complete up to the watermarks. `vectors` is None without an embedder."""

    generation: Generation
    lexical: Bm25Index
    vectors: ExactIndex | None
    chunk_id: int
    deletion_seq: int
    base_chunk_id: int
    base_deletion_seq: int


class DerivedIndexes:
    """Opens, follows and rebuilds the derived files of a library. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._directory = catalogue.directory / DERIVED
        self._lock = threading.Lock()
        self._indexes: Indexes | None = None

    def current(self, connection: apsw.Connection) -> Indexes:
        """The indexes, at least as new as the state that `connection`'s transaction sees."""
        generation = active_generation(connection)
        chunk_id, deletion_seq = _watermarks(connection)
        with self._lock:
            indexes = self._indexes
            if indexes is None or indexes.generation.id != generation.id:
                indexes = self._open(connection, generation)
            if chunk_id - indexes.chunk_id > MOST_IN_MEMORY or indexes.deletion_seq < trimmed_to(connection):
                indexes = self._open(connection, generation)
            _follow(connection, indexes, chunk_id, deletion_seq)
            self._indexes = indexes
            return indexes

    def settle(self, *, at_end: bool = False) -> None:
        """Rebuilds the files when `MOST_IN_MEMORY` changes lie above them; at the end of a job, when it is worth it.

        At the end of a job the logs are trimmed to what the files have not passed.
        """
        with self._catalogue.read() as connection:
            generation = active_generation(connection)
            chunk_id, deletion_seq = _watermarks(connection)
            meta = self._meta(generation)
            if meta is None or int(meta["base_chunk_id"]) > chunk_id or int(meta["base_deletion_seq"]) > deletion_seq:
                above = MOST_IN_MEMORY if at_end else chunk_id
                base = 0
            else:
                base = _chunk_count(connection, generation.id)
                above = _chunk_count(connection, generation.id, above=int(meta["base_chunk_id"]))
                above += deletion_seq - int(meta["base_deletion_seq"])
            if above >= MOST_IN_MEMORY or (at_end and above > max(256, base // 16)):
                self.rebuild(connection, generation)
            passed = self._passed()
            is_long = passed is not None and log_sizes(connection) != (deletion_seq - passed, 0)
        if at_end and passed is not None and is_long:
            with self._catalogue.write() as writer:
                trim_logs(writer, passed)

    def _passed(self) -> int | None:
        """The last deletion that every derived file knows; None when there is no file, or one that cannot be read."""
        try:
            files = [(p, p.suffix[1:]) for p in self._directory.iterdir() if p.suffix in (".bm25", ".vectors")]
            bases = [open_derived(path, kind).meta["owner"]["base_deletion_seq"] for path, kind in files]
        except (OSError, CorruptLibrary):
            return None
        return min((int(base) for base in bases), default=None)

    def rebuild(self, connection: apsw.Connection, generation: Generation) -> None:
        """Writes both files of a generation from what the transaction of `connection` sees.

        Raises `OpenbookError` when they cannot be written; the old ones stay, and nothing in the catalogue changes.
        """
        try:
            self._rebuild(connection, generation)
        except OSError as error:
            raise OpenbookError(
                f"the indexes in {self._directory} cannot be written: {error.strerror}",
                "free some space or check the permissions; the documents are safe, the next run makes the indexes",
            ) from error

    def _rebuild(self, connection: apsw.Connection, generation: Generation) -> None:
        self._directory.mkdir(exist_ok=True)
        chunk_id, deletion_seq = _watermarks(connection)
        meta = {"generation": generation.id, "base_chunk_id": chunk_id, "base_deletion_seq": deletion_seq}
        fault_point("merge")
        Bm25Index.build(self._path(generation, "bm25"), _counts(connection, generation.id, 0), meta)
        fault_point("merge")
        if generation.dimension is not None:
            rows = _vectors(connection, generation.id, 0, generation.dimension)
            ExactIndex.build(self._path(generation, "vectors"), rows, generation.dimension, meta)
            fault_point("merge")
        self._remove_retired(generation)

    def damage(self, connection: apsw.Connection) -> list[str]:
        """What is wrong with the files of the active generation, in words; reads them whole."""
        generation = active_generation(connection)
        found: list[str] = []
        kinds = ["bm25", "vectors"] if generation.dimension is not None else ["bm25"]
        for kind in kinds:
            path = self._path(generation, kind)
            if path.is_file():
                found += [f"{path.name}: {problem}" for problem in _damage_of(path, kind, connection, generation)]
        return found

    def forget(self) -> None:
        """Drops what is open, so that the next search opens the files anew."""
        with self._lock:
            self._indexes = None

    def _open(self, connection: apsw.Connection, generation: Generation) -> Indexes:
        """The files where they are there and whole; otherwise they are made first, or, where nothing can be written, all
        is held in memory.
        """
        try:
            indexes = self._open_files(generation)
            chunk_id, deletion_seq = _watermarks(connection)
            if indexes.chunk_id > chunk_id or indexes.deletion_seq > deletion_seq:
                raise CorruptLibrary("the derived files are newer than the catalogue", "they are made again")
            if indexes.deletion_seq < trimmed_to(connection):
                raise CorruptLibrary("the derived files are older than the log of deletions", "they are made again")
            return indexes
        except (FileNotFoundError, CorruptLibrary):
            if _chunk_count(connection, generation.id) > MOST_IN_MEMORY or self._directory.exists():
                with suppress(OpenbookError):
                    self.rebuild(connection, generation)
                    return self._open_files(generation)
        vectors = ExactIndex(generation.dimension) if generation.dimension is not None else None
        # What was deleted before now is not in the catalogue, from which all is read.
        return Indexes(generation, Bm25Index(), vectors, 0, _watermarks(connection)[1], 0, 0)

    def _open_files(self, generation: Generation) -> Indexes:
        lexical = Bm25Index.open(self._path(generation, "bm25"))
        vectors = ExactIndex.open(self._path(generation, "vectors")) if generation.dimension is not None else None
        meta = lexical.meta
        if vectors is not None and vectors.meta != meta:
            older = min(meta["base_chunk_id"], vectors.meta["base_chunk_id"])
            deletions = min(meta["base_deletion_seq"], vectors.meta["base_deletion_seq"])
            return Indexes(generation, lexical, vectors, older, deletions, older, deletions)
        chunk_id, deletion_seq = int(meta["base_chunk_id"]), int(meta["base_deletion_seq"])
        return Indexes(generation, lexical, vectors, chunk_id, deletion_seq, chunk_id, deletion_seq)

    def _meta(self, generation: Generation) -> dict[str, Any] | None:
        try:
            return Bm25Index.open(self._path(generation, "bm25")).meta
        except (FileNotFoundError, CorruptLibrary):
            return None

    def _path(self, generation: Generation, kind: str) -> Path:
        return self._directory / f"{generation.id}.{kind}"

    def _remove_retired(self, generation: Generation) -> None:
        for path in self._directory.iterdir():
            number = path.name.partition(".")[0]
            if number.isdigit() and int(number) < generation.id:
                path.unlink(missing_ok=True)


def _watermarks(connection: apsw.Connection) -> tuple[int, int]:
    """The highest chunk id and deletion number that were ever given out."""
    rows = dict(connection.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('chunks', 'deletions')"))
    return int(rows.get("chunks", 0)), int(rows.get("deletions", 0))


def _follow(connection: apsw.Connection, indexes: Indexes, chunk_id: int, deletion_seq: int) -> None:
    """Adds what was committed since and takes out what was deleted since."""
    generation = indexes.generation
    if chunk_id > indexes.chunk_id:
        indexes.lexical.upsert(list(_counts(connection, generation.id, indexes.chunk_id)))
        if indexes.vectors is not None and generation.dimension is not None:
            indexes.vectors.upsert(_vectors(connection, generation.id, indexes.chunk_id, generation.dimension))
        indexes.chunk_id = chunk_id
    if deletion_seq > indexes.deletion_seq:
        query = "SELECT chunk_id FROM deletions WHERE seq > ? AND generation_id = ?"
        gone = [row[0] for row in connection.execute(query, (indexes.deletion_seq, generation.id))]
        indexes.lexical.delete(gone)
        if indexes.vectors is not None:
            indexes.vectors.delete(gone)
        indexes.deletion_seq = deletion_seq


def _counts(connection: apsw.Connection, generation_id: int, above: int) -> Iterator[tuple[int, bytes]]:
    query = (
        "SELECT c.id, t.counts FROM chunks c CROSS JOIN term_counts t ON t.chunk_id = c.id "
        "WHERE c.id > ? AND c.generation_id = ? ORDER BY c.id"
    )
    yield from connection.execute(query, (above, generation_id))


def _vectors(
    connection: apsw.Connection, generation_id: int, above: int, dimension: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Runs of up to 1,024 (ids, vectors)."""
    query = (
        "SELECT c.id, v.vector FROM chunks c CROSS JOIN vectors v ON v.chunk_id = c.id "
        "WHERE c.id > ? AND c.generation_id = ? ORDER BY c.id"
    )
    cursor = connection.execute(query, (above, generation_id))
    while rows := [row for _, row in zip(range(_READ_ROWS), cursor, strict=False)]:
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        yield ids, unpack_vectors([row[1] for row in rows], dimension)


def _chunk_count(connection: apsw.Connection, generation_id: int, above: int = 0) -> int:
    query = "SELECT count(*) FROM chunks WHERE id > ? AND generation_id = ?"
    return int(connection.execute(query, (above, generation_id)).get)


def _damage_of(path: Path, kind: str, connection: apsw.Connection, generation: Generation) -> list[str]:
    try:
        file = open_derived(path, kind)
    except CorruptLibrary as error:
        return [error.message]
    damaged = [f"section {name} does not have its checksum" for name in file.damaged_sections()]
    owner = file.meta["owner"]
    rows = connection.execute(
        "SELECT id FROM chunks WHERE generation_id = ? AND id <= ? ORDER BY id", (generation.id, owner["base_chunk_id"])
    )
    there = {row[0] for row in rows}
    query = "SELECT chunk_id FROM deletions WHERE seq > ? AND generation_id = ?"
    gone = {row[0] for row in connection.execute(query, (owner["base_deletion_seq"], generation.id))}
    held = set(file.arrays["ids"].tolist())
    if held - gone != there:
        damaged.append(f"holds {len(held - gone - there)} chunks too many and lacks {len(there - held)}")
    return damaged
