"""Every question asked of a library. All that show documents or chunks take a `Scope`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import apsw
import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import UsageError
from openbook.library.catalogue.packing import unpack_anchors, unpack_blocks, unpack_opening
from openbook.library.catalogue.rows import ChunkRow, DocumentRow, PartRow, PathRow, Root, StoredChunk
from openbook.library.catalogue.scope import Scope
from openbook.library.documents.model import Anchor, Block

_DOCUMENT = (
    "d.id, (SELECT name FROM collections c WHERE c.id = d.collection_id), "
    "(SELECT json_group_array(path) FROM (SELECT path FROM paths p WHERE p.document_id = d.id ORDER BY path)), "
    "d.sha256, d.suffix, d.version, d.kind, d.title, d.language, d.modified, d.size_bytes, d.text_sha256, d.receipt"
)


def _document_row(row: tuple[object, ...]) -> DocumentRow:
    values = list(row)
    values[2] = tuple(json.loads(str(row[2])))
    return DocumentRow(*values)  # type: ignore[arg-type]


def documents(connection: apsw.Connection, scope: Scope) -> Iterator[DocumentRow]:
    """Every document that `scope` shows, by id."""
    condition, bindings = scope.where()
    for row in connection.execute(f"SELECT {_DOCUMENT} FROM documents d WHERE {condition} ORDER BY d.id", bindings):
        yield _document_row(row)


def documents_by_id(connection: apsw.Connection, scope: Scope, ids: Sequence[int]) -> dict[int, DocumentRow]:
    condition, bindings = scope.where()
    query = f"SELECT {_DOCUMENT} FROM documents d WHERE d.id IN (SELECT value FROM json_each(?)) AND {condition}"
    rows = connection.execute(query, [json.dumps(list(ids)), *bindings])
    return {row[0]: _document_row(row) for row in rows}


def find_document(connection: apsw.Connection, scope: Scope, name: str) -> DocumentRow:
    """The document named by id ("d12"), by path, by the end of exactly one path, or by the id of a record.

    Raises `UsageError` when there is none, or when several paths end so (it lists them).
    """
    if name[:1] == "d" and name[1:].isdecimal() and name.isascii() and len(name) < 19:
        found = documents_by_id(connection, scope, [int(name[1:])])
        if found:
            return found[int(name[1:])]
    condition, bindings = scope.where()
    query = (
        f"SELECT {_DOCUMENT}, q.path FROM paths q JOIN documents d ON d.id = q.document_id "
        "WHERE (q.path = ?1 OR substr(q.path, -length(?2)) = ?2 OR (d.suffix = '#record' AND substr(q.path, -length(?3)) = ?3)) "
        f"AND {condition} ORDER BY q.path LIMIT 6"
    )
    rows = list(connection.execute(query, [name, "/" + name, "#" + name, *bindings]))
    exact = [row for row in rows if row[-1] == name]
    rows = exact or rows
    if not rows:
        raise UsageError(f"no document is named {name!r}", "`openbook ls` lists ids and paths")
    if len({row[0] for row in rows}) > 1:
        several = ", ".join(str(row[-1]) for row in rows)
        raise UsageError(f"{name!r} names several documents: {several}", "give the whole path or the id")
    return _document_row(rows[0][:-1])


def document_text(connection: apsw.Connection, document_id: int) -> str:
    """The whole text; `document_texts` gives that of a large document part by part."""
    return "".join(document_texts(connection, document_id))


def document_texts(connection: apsw.Connection, document_id: int) -> Iterator[str]:
    """The text of a document in pieces, each with what stands before it."""
    for (text,) in connection.execute(
        "SELECT glue || text FROM parts WHERE document_id = ? ORDER BY start", (document_id,)
    ):
        yield str(text)


def next_part(connection: apsw.Connection, document_id: int, after: int = -1) -> PartRow | None:
    """The part of a document whose start is the next after `after`."""
    query = (
        "SELECT id, start, byte_start, glue, opening, blocks, text FROM parts WHERE document_id = ? AND start > ? "
        "ORDER BY start LIMIT 1"
    )
    row = connection.execute(query, (document_id, after)).fetchone()
    return PartRow(*row) if row else None


def document_parts(connection: apsw.Connection, document_id: int) -> Iterator[PartRow]:
    """The parts of a document in order, one at a time in memory."""
    after = -1
    while (part := next_part(connection, document_id, after)) is not None:
        yield part
        after = part.start


def part_count(connection: apsw.Connection, document_id: int) -> int:
    return int(connection.execute("SELECT count(*) FROM parts WHERE document_id = ?", (document_id,)).get)


def document_blocks(
    connection: apsw.Connection, document_id: int, start: int = 0, end: int | None = None
) -> tuple[Block, ...]:
    """The blocks of a document; with `start` and `end`, at least those that overlap that span of its text."""
    last = 1 << 62 if end is None else end
    rows = connection.execute(
        "SELECT start, opening, blocks FROM parts WHERE document_id = ?1 AND start < ?3 AND start >= "
        "(SELECT coalesce(max(start), 0) FROM parts WHERE document_id = ?1 AND start <= ?2) ORDER BY start",
        (document_id, start, max(last, start + 1)),
    )
    found: list[Block] = []
    for part_start, packed, blocks in rows:
        opening = unpack_opening(packed)
        for number, block in enumerate(unpack_blocks(blocks)):
            header_end = block.header_end + part_start if block.header_end >= 0 else -1
            block = block._replace(start=block.start + part_start, end=block.end + part_start, header_end=header_end)
            if number == 0 and opening is not None and opening.opening.continues:
                block = block._replace(start=opening.begin, header_end=opening.header_end)
                if found:
                    found.pop()
            found.append(block)
    return tuple(found)


def document_metadata(connection: apsw.Connection, document_id: int) -> dict[str, str]:
    return dict(json.loads(connection.execute("SELECT metadata FROM documents WHERE id = ?", (document_id,)).get))


def anchors_between(connection: apsw.Connection, document_id: int, start: int, end: int) -> list[Anchor]:
    """The anchors that overlap `start:end`, in order."""
    rows = connection.execute(
        'SELECT start, run FROM anchors WHERE document_id = ? AND start < ? AND "end" > ? ORDER BY start',
        (document_id, end, start),
    )
    anchors = (anchor for first, run in rows for anchor in unpack_anchors(run, first))
    return [anchor for anchor in anchors if anchor.start < end and anchor.end > start]


def anchor_runs(connection: apsw.Connection, document_id: int, part: PartRow) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, packed run) of a part's anchors, offsets of the part."""
    yield from connection.execute(
        'SELECT start - ?2, "end" - ?2, run FROM anchors WHERE document_id = ?1 AND start >= ?2 AND start < ?3 ORDER BY start',
        (document_id, part.start, part.start + max(len(part.text), 1)),
    )


def chunks_of_part(
    connection: apsw.Connection, document_id: int, generation_id: int, part: PartRow
) -> Iterator[StoredChunk]:
    """The chunks of a generation that begin in a part, in order."""
    query = (
        'SELECT c.id, c.start, c."end", c.byte_start, c.byte_end, c.prefix, c.crc, t.counts, v.vector FROM chunks c '
        "LEFT JOIN term_counts t ON t.chunk_id = c.id LEFT JOIN vectors v ON v.chunk_id = c.id "
        "WHERE c.document_id = ? AND c.generation_id = ? AND c.start >= ? AND c.start < ? ORDER BY c.start, c.id"
    )
    end = part.start + max(len(part.text), 1)
    for row in connection.execute(query, (document_id, generation_id, part.start, end)):
        yield StoredChunk(*row)


def chunks_by_id(
    connection: apsw.Connection, scope: Scope, generation_id: int, ids: Sequence[int]
) -> dict[int, ChunkRow]:
    """The chunks of `ids` that exist in this generation and that `scope` shows; what is gone or forbidden is absent."""
    condition, bindings = scope.where()
    query = (
        'SELECT c.id, c.document_id, c.start, c."end", c.byte_start, c.byte_end, c.heading, c.page, c.tokens, c.language, '
        "(SELECT id FROM parts t WHERE t.document_id = c.document_id AND t.start <= c.start ORDER BY t.start DESC LIMIT 1) "
        "FROM chunks c JOIN documents d ON d.id = c.document_id "
        f"WHERE c.id IN (SELECT value FROM json_each(?)) AND c.generation_id = ? AND {condition}"
    )
    found: dict[int, ChunkRow] = {}
    for row in list(connection.execute(query, [json.dumps([int(i) for i in ids]), generation_id, *bindings])):
        chunk_id, document_id, start, end, byte_start, byte_end, heading, page, tokens, language, part = row
        text = slice_of_text(connection, part, byte_start, byte_end)
        found[chunk_id] = ChunkRow(
            chunk_id, document_id, start, end, text, tuple(json.loads(heading)), page, tokens, language
        )
    return found


def prefixes(connection: apsw.Connection, ids: Sequence[int]) -> dict[int, str]:
    """What is embedded and indexed before the slice of each chunk that is there: title, heading path, table header."""
    query = "SELECT id, prefix FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0]: row[1] for row in connection.execute(query, (json.dumps([int(one) for one in ids]),))}


def slice_of_text(connection: apsw.Connection, part_id: int, byte_start: int, byte_end: int) -> str:
    """A slice of a document's text that lies in one part, read without reading the rest of it."""
    begin = connection.execute("SELECT byte_start FROM parts WHERE id = ?", (part_id,)).get
    blob = connection.blob_open("main", "parts", "text", part_id, False)
    try:
        blob.seek(byte_start - begin)
        return bytes(blob.read(byte_end - byte_start)).decode("utf-8")
    finally:
        blob.close()


def text_between(connection: apsw.Connection, document_id: int, start: int, end: int) -> str:
    """The slice `start:end` in code points; for spans that are not those of a chunk."""
    rows = connection.execute(
        "SELECT start, glue, substr(text, max(?2 - start, 0) + 1, ?3 - max(?2, start)) FROM parts "
        "WHERE document_id = ?1 AND start - length(glue) < ?3 AND start >= "
        "(SELECT coalesce(max(start), 0) FROM parts WHERE document_id = ?1 AND start <= ?2) ORDER BY start",
        (document_id, start, end),
    )
    found = ""
    for part_start, glue, text in rows:
        before = part_start - len(
            glue
        )  # the glue of the first part that is wanted is not, unless the slice begins there
        found += glue[max(start - before, 0) : max(end - before, 0)] + (text if end > part_start else "")
    return found


def documents_of_chunks(connection: apsw.Connection, ids: Sequence[int]) -> dict[int, int]:
    """Document id of each chunk that is there."""
    query = "SELECT id, document_id FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0]: row[1] for row in connection.execute(query, (json.dumps(list(ids)),))}


def every_chunk_id(connection: apsw.Connection, generation_id: int) -> NDArray[np.int64]:
    """Ascending ids of all chunks of a generation."""
    rows = connection.execute("SELECT id FROM chunks WHERE generation_id = ? ORDER BY id", (generation_id,))
    return np.fromiter((row[0] for row in rows), dtype=np.int64)


def allowed_chunk_ids(connection: apsw.Connection, scope: Scope, generation_id: int) -> NDArray[np.int64] | None:
    """Sorted ids of the chunks that `scope` shows; None when it shows all."""
    if scope.is_everything:
        return None
    condition, bindings = scope.where()
    query = (
        "SELECT c.id FROM documents d CROSS JOIN chunks c ON c.document_id = d.id AND c.generation_id = ? "
        f"WHERE {condition}"
    )
    rows = connection.execute(query, [generation_id, *bindings])
    return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))


def phrase_chunk_ids(connection: apsw.Connection, match: str) -> NDArray[np.int64]:
    """Sorted ids of the chunks whose tokens match an FTS5 expression made by `lexical.query`."""
    rows = connection.execute("SELECT rowid FROM phrases WHERE phrases MATCH ?", (match,))
    return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))


def collections(connection: apsw.Connection) -> list[str]:
    """Names of all collections."""
    return [str(row[0]) for row in connection.execute("SELECT name FROM collections ORDER BY id")]


def roots(connection: apsw.Connection) -> list[Root]:
    rows = connection.execute(
        "SELECT r.id, r.path, c.name, r.kind, r.exclude FROM roots r JOIN collections c ON c.id = r.collection_id ORDER BY r.id"
    )
    return [Root(id, path, name, kind, tuple(json.loads(exclude))) for id, path, name, kind, exclude in rows]


_PATH = (
    "SELECT p.path, c.name, p.root_id, p.document_id, p.size_bytes, p.mtime_ns, p.failure, d.sha256, d.suffix "
    "FROM paths p JOIN collections c ON c.id = p.collection_id JOIN roots r ON r.id = p.root_id "
    "LEFT JOIN documents d ON d.id = p.document_id "
)


def paths_below(connection: apsw.Connection, place: str, collection: str) -> list[PathRow]:
    """The known paths of files at `place` or below it as a folder, by path; records are not files."""
    rows = connection.execute(
        _PATH + "WHERE c.name = ?1 AND (p.path = ?2 OR (p.path > ?2 || '/' AND p.path < ?2 || '0')) "
        "AND r.kind != 'records' ORDER BY p.path",
        (collection, place),
    )
    return [PathRow(*row) for row in rows]


def records_of(connection: apsw.Connection, file: str, collection: str) -> list[PathRow]:
    """The known records ("FILE#ID") of a file of records, by path."""
    rows = connection.execute(
        _PATH + "WHERE c.name = ? AND r.kind = 'records' AND r.path = ? ORDER BY p.path", (collection, file)
    )
    return [PathRow(*row) for row in rows]


def root_path(connection: apsw.Connection, root_id: int) -> str:
    return str(connection.execute("SELECT path FROM roots WHERE id = ?", (root_id,)).get)


def path_row(connection: apsw.Connection, path: str, collection: str) -> PathRow | None:
    found = connection.execute(_PATH + "WHERE p.path = ? AND c.name = ?", (path, collection)).fetchone()
    return PathRow(*found) if found else None


def failures(connection: apsw.Connection, scope: Scope) -> list[PathRow]:
    """Paths whose newest content could not be read. Only the owner sees them: they belong to no document."""
    if scope.principal is not None:
        return []
    return [PathRow(*row) for row in connection.execute(_PATH + "WHERE p.failure IS NOT NULL ORDER BY p.path")]


def document_with_content(
    connection: apsw.Connection, collection: str, sha256: str, suffix: str
) -> tuple[int, tuple[str, ...]] | None:
    """(id, paths) of the document that holds exactly these bytes, read in the same way; None when there is none."""
    found = connection.execute(
        "SELECT d.id FROM documents d JOIN collections c ON c.id = d.collection_id "
        "WHERE c.name = ? AND d.sha256 = ? AND d.suffix = ?",
        (collection, sha256, suffix),
    ).get
    if found is None:
        return None
    rows = connection.execute("SELECT path FROM paths WHERE document_id = ? ORDER BY path", (found,))
    return int(found), tuple(row[0] for row in rows)


def state(connection: apsw.Connection) -> int:
    """A number that every committed change of the library raises."""
    return int(connection.execute("SELECT value FROM meta WHERE key = 'state'").get or 0)


def counts(connection: apsw.Connection, scope: Scope, generation_id: int) -> dict[str, int]:
    """How many documents, chunks, vectors and paths with failures `scope` shows."""
    condition, bindings = scope.where()
    chunks = "FROM documents d CROSS JOIN chunks c ON c.document_id = d.id AND c.generation_id = ? WHERE " + condition
    return {
        "documents": int(connection.execute(f"SELECT count(*) FROM documents d WHERE {condition}", bindings).get),
        "chunks": int(connection.execute(f"SELECT count(*) {chunks}", [generation_id, *bindings]).get),
        "failures": len(failures(connection, scope)),
    }
