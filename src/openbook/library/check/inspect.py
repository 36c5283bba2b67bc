"""Holds a library against itself: counts, hashes, full text, vectors and derived files against the documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import apsw
import numpy as np

from openbook.core.errors import CorruptLibrary
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.packing import chunk_crc, unpack_anchors, unpack_blocks, unpack_vectors
from openbook.library.catalogue.rows import Generation
from openbook.library.catalogue.writes import text_sha256
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.tokenize import TOKENIZER_VERSION, sequence
from openbook.library.store import LibraryStore

Cure = Literal["derived", "phrases", "orphans", "reindex", "reread", "file", "reembed"]
"""What mends a problem: rebuild a derived file, the phrase table; delete orphans; make a document's chunks again from
its text; read its file again; mend the database file itself; or `openbook reembed`.
"""
_NORM_TOLERANCE = 0.01


class Problem(NamedTuple):
    """One thing that does not agree. `document_id` is set where a document's chunks or text are concerned."""

    what: str
    cure: Cure
    document_id: int | None = None


def inspect(store: LibraryStore, progress: Progress = silent) -> list[Problem]:
    """Every disagreement that is found; an empty list means that all is well. Reads the whole library."""
    try:
        return _inspect(store, progress)
    except CorruptLibrary as error:
        return [Problem(error.message, "file")]


def _inspect(store: LibraryStore, progress: Progress) -> list[Problem]:
    with store.catalogue.read() as connection:
        found = list(_database(connection))
        if any(problem.cure == "file" for problem in found):
            return found
        found += _foreign_keys(connection)
        generation = active_generation(connection)
        found += _orphans(connection)
        found += _generation(store, generation)
        found += _documents(connection, generation, progress)
        found += _phrases(connection, generation)
        found += [Problem(text, "derived") for text in store.indexes.damage(connection)]
        return found


def _database(connection: apsw.Connection) -> Iterator[Problem]:
    # FTS5 checks itself against what it remembers of its structure, which only a query brings up to date.
    connection.execute("SELECT rowid FROM phrases WHERE phrases MATCH 'a'").fetchone()
    for (message,) in connection.execute("PRAGMA integrity_check(20)"):
        if message != "ok":
            yield Problem(f"database: {message}", "phrases" if "phrases" in message else "file")


def _foreign_keys(connection: apsw.Connection) -> Iterator[Problem]:
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Problem(f"row {rowid} of {table} belongs to no row of {parent}", "orphans")


_ORPHANS = {
    "chunks of no document": "SELECT count(*) FROM chunks WHERE document_id NOT IN (SELECT id FROM documents)",
    "chunks of no generation": "SELECT count(*) FROM chunks WHERE generation_id NOT IN (SELECT id FROM generations)",
    "term counts of no chunk": "SELECT count(*) FROM term_counts WHERE chunk_id NOT IN (SELECT id FROM chunks)",
    "vectors of no chunk": "SELECT count(*) FROM vectors WHERE chunk_id NOT IN (SELECT id FROM chunks)",
    "documents that no path leads to": "SELECT count(*) FROM documents WHERE id NOT IN "
    "(SELECT document_id FROM paths WHERE document_id IS NOT NULL)",
}


def _orphans(connection: apsw.Connection) -> Iterator[Problem]:
    for what, query in _ORPHANS.items():
        count = connection.execute(query).get
        if count:
            yield Problem(f"{count} {what}", "orphans")


def _generation(store: LibraryStore, generation: Generation) -> Iterator[Problem]:
    if generation.tokenizer_version != TOKENIZER_VERSION:
        yield Problem(
            f"terms were counted by tokenizer {generation.tokenizer_version}, this is {TOKENIZER_VERSION}", "reembed"
        )
    del store


def _documents(connection: apsw.Connection, generation: Generation, progress: Progress) -> Iterator[Problem]:
    ids = [row[0] for row in connection.execute("SELECT id FROM documents ORDER BY id")]
    for number, document_id in enumerate(ids, 1):
        progress("checking", number, len(ids), f"d{document_id}")
        problem = _content(connection, document_id)
        if problem is not None:
            yield Problem(f"d{document_id}: {problem}", "reread", document_id)
            continue
        text = reads.document_text(connection, document_id)
        for problem in _chunks(connection, document_id, text, generation):
            yield Problem(f"d{document_id}: {problem}", "reindex", document_id)


def _content(connection: apsw.Connection, document_id: int) -> str | None:
    row: Any = connection.execute(
        "SELECT text, text_sha256, blocks FROM documents WHERE id = ?", (document_id,)
    ).fetchone()
    text, sha256, blocks = row
    if text_sha256(text) != sha256:
        return "the text does not have its hash"
    try:
        spans = [(block.start, block.end) for block in unpack_blocks(blocks)]
        for (run,) in connection.execute("SELECT run FROM anchors WHERE document_id = ?", (document_id,)):
            spans += [(anchor.start, anchor.end) for anchor in unpack_anchors(run)]
    except Exception as error:  # a damaged blob fails in zlib, msgpack or its shape
        return f"blocks or anchors cannot be read ({type(error).__name__})"
    if any(not 0 <= start <= end <= len(text) for start, end in spans):
        return "a block or anchor lies outside the text"
    return None


def _chunks(connection: apsw.Connection, document_id: int, text: str, generation: Generation) -> Iterator[str]:
    """What is wrong with the chunks of a document; at most one problem a chunk."""
    query = (
        'SELECT c.id, c.start, c."end", c.byte_start, c.byte_end, c.prefix, c.crc, t.counts, v.vector FROM chunks c '
        "LEFT JOIN term_counts t ON t.chunk_id = c.id LEFT JOIN vectors v ON v.chunk_id = c.id "
        "WHERE c.document_id = ? AND c.generation_id = ? ORDER BY c.id"
    )
    rows: list[Any] = connection.execute(query, (document_id, generation.id)).fetchall()
    covered = 0
    for row in rows:
        problem = _chunk(row, text, generation)
        if problem is not None:
            yield f"chunk c{row[0]} {problem}"
        if text[covered : row[1]].strip():
            yield f"text before chunk c{row[0]} lies in no chunk"
        covered = max(covered, row[2])
    if text[covered:].strip():
        yield "text at the end lies in no chunk"


def _chunk(row: tuple[object, ...], text: str, generation: Generation) -> str | None:
    chunk_id, start, end, byte_start, byte_end, prefix, crc, counts, vector = row
    del chunk_id
    assert isinstance(start, int) and isinstance(end, int) and isinstance(byte_start, int) and isinstance(byte_end, int)
    assert isinstance(prefix, str)
    if not 0 <= start < end <= len(text):
        return "lies outside the text"
    slice_text = text[start:end]
    if byte_end - byte_start != len(slice_text.encode()) or len(text[:start].encode()) != byte_start:
        return "has wrong byte offsets"
    if not isinstance(counts, bytes):
        return "has no term counts"
    if generation.tokenizer_version == TOKENIZER_VERSION and counts != count_terms(prefix + slice_text).to_blob():
        return "has term counts of another text"
    if generation.dimension is not None and not isinstance(vector, bytes):
        return "has no vector"
    if isinstance(vector, bytes) and (problem := _vector(vector, generation.dimension)) is not None:
        return problem
    if chunk_crc(slice_text, prefix, counts, vector if isinstance(vector, bytes) else None) != crc:
        return "does not have its checksum"
    return None


def _vector(vector: bytes, dimension: int | None) -> str | None:
    if dimension is None or len(vector) != dimension * 2:
        return f"has a vector of {len(vector)} bytes"
    norm = float(np.linalg.norm(unpack_vectors([vector], dimension)))
    if not abs(norm - 1) <= _NORM_TOLERANCE:
        return f"has a vector of length {norm:.3f}"
    return None


def _phrases(connection: apsw.Connection, generation: Generation) -> Iterator[Problem]:
    """The phrase table has exactly the chunks, and finds each by its first words."""
    have = {row[0] for row in connection.execute("SELECT id FROM phrases_docsize")}
    want = {row[0] for row in connection.execute("SELECT id FROM chunks")}
    if have != want:
        yield Problem(f"full text has {len(have - want)} chunks too many and lacks {len(want - have)}", "phrases")
        return
    query = (
        'SELECT c.id, substr(d.text, c.start + 1, c."end" - c.start) FROM chunks c JOIN documents d ON d.id = c.document_id '
        "WHERE c.generation_id = ?"
    )
    missing = 0
    rows: list[Any] = connection.execute(query, (generation.id,)).fetchall()
    for chunk_id, text in rows:
        words = sequence(text)[:6]
        phrase = '"' + " ".join(words) + '"'
        match = "SELECT 1 FROM phrases WHERE phrases MATCH ? AND rowid = ?"
        if words and connection.execute(match, (phrase, chunk_id)).get is None:
            missing += 1
    if missing:
        yield Problem(f"full text does not find {missing} chunks by their first words", "phrases")
