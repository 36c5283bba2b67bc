"""Holds a library against itself: counts, hashes, full text, vectors and derived files against the documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

import apsw
import numpy as np

from openbook.core.errors import CorruptLibrary
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.packing import (
    chunk_crc,
    unpack_anchors,
    unpack_blocks,
    unpack_opening,
    unpack_vectors,
)
from openbook.library.catalogue.rows import Generation, PartRow, StoredChunk
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
        found += _phrase_ids(connection)
        found += _documents(connection, generation, progress, phrases=not any(one.cure == "phrases" for one in found))
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


def _documents(
    connection: apsw.Connection, generation: Generation, progress: Progress, *, phrases: bool
) -> Iterator[Problem]:
    """What is wrong with each document and its chunks; with `phrases`, also which chunks the full text does not find."""
    ids = [row[0] for row in connection.execute("SELECT id FROM documents ORDER BY id")]
    missing = 0
    for number, document_id in enumerate(ids, 1):
        progress("checking", number, len(ids), f"d{document_id}")
        problem = _content(connection, document_id)
        if problem is not None:
            yield Problem(f"d{document_id}: {problem}", "reread", document_id)
            continue
        for part in reads.document_parts(connection, document_id):
            for problem in _chunks(connection, document_id, part, generation):
                yield Problem(f"d{document_id}: {problem}", "reindex", document_id)
            missing += _not_found(connection, document_id, part, generation) if phrases else 0
    if missing:
        yield Problem(f"full text does not find {missing} chunks by their first words", "phrases")


def _content(connection: apsw.Connection, document_id: int) -> str | None:
    """What is wrong with the text of a document, its blocks or its anchors."""
    digest = hashlib.sha256()
    position = byte_position = parts = 0
    for part in reads.document_parts(connection, document_id):
        text = part.text.encode("utf-8", "surrogatepass")
        glue = part.glue.encode("utf-8", "surrogatepass")
        if (part.start, part.byte_start) != (position + len(part.glue), byte_position + len(glue)):
            return "its parts do not follow each other"
        digest.update(glue + text)
        position, byte_position = part.start + len(part.text), part.byte_start + len(text)
        parts += 1
        problem = _spans(connection, document_id, part)
        if problem is not None:
            return problem
    sha256 = connection.execute("SELECT text_sha256 FROM documents WHERE id = ?", (document_id,)).get
    if digest.hexdigest() != sha256 or not parts:
        return "the text does not have its hash"
    end = connection.execute('SELECT coalesce(max("end"), 0) FROM anchors WHERE document_id = ?', (document_id,)).get
    return "an anchor lies outside the text" if end > position else None


def _spans(connection: apsw.Connection, document_id: int, part: PartRow) -> str | None:
    try:
        unpack_opening(part.opening)
        spans = [(block.start, block.end) for block in unpack_blocks(part.blocks)]
        for start, _, run in reads.anchor_runs(connection, document_id, part):
            spans += [(anchor.start, anchor.end) for anchor in unpack_anchors(run, start)]
    except Exception as error:  # a damaged blob fails in zlib, msgpack or its shape
        return f"blocks or anchors cannot be read ({type(error).__name__})"
    if any(not 0 <= start <= end <= len(part.text) for start, end in spans):
        return "a block or anchor lies outside the text"
    return None


def _chunks(connection: apsw.Connection, document_id: int, part: PartRow, generation: Generation) -> Iterator[str]:
    """What is wrong with the chunks of a part; at most one problem a chunk."""
    covered = position = byte_position = 0
    for row in reads.chunks_of_part(connection, document_id, generation.id, part):
        start, end = row.start - part.start, row.end - part.start
        byte_position += len(part.text[position:start].encode())
        position = start
        problem = _chunk(row, part, generation, byte_position)
        if problem is not None:
            yield f"chunk c{row.id} {problem}"
        if part.text[covered:start].strip():
            yield f"text before chunk c{row.id} lies in no chunk"
        covered = max(covered, end)
    if part.text[covered:].strip():
        yield (
            "text at the end lies in no chunk" if not covered else f"text after {part.start + covered} lies in no chunk"
        )


def _chunk(row: StoredChunk, part: PartRow, generation: Generation, byte_position: int) -> str | None:
    start, end = row.start - part.start, row.end - part.start
    if not 0 <= start < end <= len(part.text):
        return "lies outside the text"
    slice_text = part.text[start:end]
    if row.byte_end - row.byte_start != len(slice_text.encode()) or part.byte_start + byte_position != row.byte_start:
        return "has wrong byte offsets"
    if not isinstance(row.counts, bytes):
        return "has no term counts"
    if (
        generation.tokenizer_version == TOKENIZER_VERSION
        and row.counts != count_terms(row.prefix + slice_text).to_blob()
    ):
        return "has term counts of another text"
    if generation.dimension is not None and not isinstance(row.vector, bytes):
        return "has no vector"
    if isinstance(row.vector, bytes) and (problem := _vector(row.vector, generation.dimension)) is not None:
        return problem
    if chunk_crc(slice_text, row.prefix, row.counts, row.vector) != row.crc:
        return "does not have its checksum"
    return None


def _vector(vector: bytes, dimension: int | None) -> str | None:
    if dimension is None or len(vector) != dimension * 2:
        return f"has a vector of {len(vector)} bytes"
    norm = float(np.linalg.norm(unpack_vectors([vector], dimension)))
    if not abs(norm - 1) <= _NORM_TOLERANCE:
        return f"has a vector of length {norm:.3f}"
    return None


_UNEQUAL = "SELECT count(*) FROM (SELECT id FROM {} EXCEPT SELECT id FROM {})"


def _phrase_ids(connection: apsw.Connection) -> Iterator[Problem]:
    """The phrase table has exactly the chunks."""
    more = int(connection.execute(_UNEQUAL.format("phrases_docsize", "chunks")).get)
    less = int(connection.execute(_UNEQUAL.format("chunks", "phrases_docsize")).get)
    if more or less:
        yield Problem(f"full text has {more} chunks too many and lacks {less}", "phrases")


def _not_found(connection: apsw.Connection, document_id: int, part: PartRow, generation: Generation) -> int:
    """How many chunks of a part the full text does not find by their first words."""
    missing = 0
    for row in reads.chunks_of_part(connection, document_id, generation.id, part):
        words = sequence(part.text[row.start - part.start : row.end - part.start])[:6]
        phrase = '"' + " ".join(words) + '"'
        match = "SELECT 1 FROM phrases WHERE phrases MATCH ? AND rowid = ?"
        if words and connection.execute(match, (phrase, row.id)).get is None:
            missing += 1
    return missing
