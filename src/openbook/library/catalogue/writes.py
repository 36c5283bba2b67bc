"""Every statement that changes a library. Each function runs inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from openbook.core.faults import fault_point
from openbook.library.catalogue.packing import with_vector
from openbook.library.catalogue.rows import ChunksOfPart, FoundFile, ReadDocument, ReadPart

_DELETED_TOGETHER = 1_000


def collection_id(connection: apsw.Connection, name: str) -> int:
    """The id of a collection, which is made when it is new."""
    connection.execute("INSERT INTO collections (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return int(connection.execute("SELECT id FROM collections WHERE name = ?", (name,)).get)


def put_root(connection: apsw.Connection, path: str, collection: str, kind: str, exclude: Sequence[str]) -> int:
    """The id of a root; one that is known takes the new `exclude`, and keeps what was removed from it by name."""
    collection_key = collection_id(connection, collection)
    known = connection.execute(
        "SELECT exclude FROM roots WHERE path = ? AND collection_id = ?", (path, collection_key)
    ).get
    removed = [one for one in json.loads(str(known or "[]")) if one.startswith(("/", "#"))]
    found = connection.execute(
        "INSERT INTO roots (path, collection_id, kind, exclude) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (path, collection_id) DO UPDATE SET kind = excluded.kind, exclude = excluded.exclude RETURNING id",
        (path, collection_key, kind, json.dumps(list(dict.fromkeys([*exclude, *removed])))),
    )
    return int(found.get)


def put_document(connection: apsw.Connection, read: ReadDocument, generation_id: int) -> int:
    """Stores what a path holds now and returns the document's id.

    The document that only this path led to keeps its id and gets a higher version; one with other paths stays as it
    is, and this path leads to a new document. Bytes that the collection already has become one more path.
    """
    file = read.file
    collection = collection_id(connection, file.collection)
    same = connection.execute(
        "SELECT id FROM documents WHERE collection_id = ? AND sha256 = ? AND suffix = ?",
        (collection, file.sha256, file.suffix),
    ).get
    before = connection.execute(
        "SELECT document_id FROM paths WHERE path = ? AND collection_id = ?", (file.path, collection)
    ).get
    if same is not None and same != before:
        return attach_path(connection, file, same)
    if same is not None:
        _delete_content(connection, same)
        document_id = _update_document(connection, same, read, version_step=0)
    elif before is not None and _path_count(connection, before) == 1:
        _delete_content(connection, before)
        document_id = _update_document(connection, before, read, version_step=1)
    else:
        document_id = _insert_document(connection, collection, read)
    fault_point("statement")
    put_chunks(connection, document_id, generation_id, _put_parts(connection, document_id, read.parts))
    _put_path(connection, file, collection, document_id)
    return document_id


def put_chunks(
    connection: apsw.Connection, document_id: int, generation_id: int, parts: Iterable[ChunksOfPart]
) -> None:
    """Adds the chunks of a document to a generation, in order, and tells the outbox."""
    for part in parts:
        _put_chunks(connection, document_id, generation_id, part)
    _tell_outbox(connection, "upsert", document_id, generation_id)


def _put_chunks(connection: apsw.Connection, document_id: int, generation_id: int, part: ChunksOfPart) -> None:
    for chunk in part.chunks:
        connection.execute(
            'INSERT INTO chunks (generation_id, document_id, start, "end", byte_start, byte_end, prefix, heading, page, '
            "tokens, language, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(generation_id, document_id, part.start + chunk.start, part.start + chunk.end),
                *(part.byte_start + chunk.byte_start, part.byte_start + chunk.byte_end, chunk.prefix, chunk.heading),
                *(chunk.page, chunk.tokens, chunk.language, with_vector(chunk.crc, chunk.vector)),
            ),
        )
        chunk_id = connection.last_insert_rowid()
        connection.execute("INSERT INTO term_counts VALUES (?, ?)", (chunk_id, chunk.counts))
        if chunk.vector is not None:
            connection.execute("INSERT INTO vectors VALUES (?, ?)", (chunk_id, chunk.vector))
        connection.execute("INSERT INTO phrases (rowid, tokens) VALUES (?, ?)", (chunk_id, chunk.phrase_tokens))
        fault_point("statement")


def attach_path(connection: apsw.Connection, file: FoundFile, document_id: int) -> int:
    """Makes `file.path` lead to a document that is there already; what it led to before goes if nothing else does."""
    collection = collection_id(connection, file.collection)
    before = connection.execute(
        "SELECT document_id FROM paths WHERE path = ? AND collection_id = ?", (file.path, collection)
    ).get
    _put_path(connection, file, collection, document_id)
    if before is not None and before != document_id:
        _delete_if_unreachable(connection, before)
    return document_id


def remove_path(connection: apsw.Connection, path: str, collection: str) -> None:
    """Forgets a path; its document goes with it when no other path leads there."""
    key = (path, collection_id(connection, collection))
    document_id = connection.execute("SELECT document_id FROM paths WHERE path = ? AND collection_id = ?", key).get
    connection.execute("DELETE FROM paths WHERE path = ? AND collection_id = ?", key)
    fault_point("statement")
    if document_id is not None:
        _delete_if_unreachable(connection, document_id)


def put_failure(connection: apsw.Connection, file: FoundFile, reason: str) -> None:
    """Notes why the newest content of a path could not be read; the document it led to stays and answers."""
    collection = collection_id(connection, file.collection)
    connection.execute(
        "INSERT INTO paths (path, collection_id, root_id, document_id, size_bytes, mtime_ns, failure) "
        "VALUES (?, ?, ?, NULL, ?, ?, ?) ON CONFLICT (path, collection_id) DO UPDATE SET failure = excluded.failure, "
        "size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns, root_id = excluded.root_id",
        (file.path, collection, file.root_id, file.size_bytes, file.mtime_ns, reason),
    )


def touch_path(connection: apsw.Connection, file: FoundFile) -> None:
    """The file was written again with the same bytes: only its time and size are noted."""
    collection = collection_id(connection, file.collection)
    connection.execute(
        "UPDATE paths SET size_bytes = ?, mtime_ns = ?, root_id = ?, failure = NULL WHERE path = ? AND collection_id = ?",
        (file.size_bytes, file.mtime_ns, file.root_id, file.path, collection),
    )
    connection.execute(
        "UPDATE documents SET modified = ? WHERE id = (SELECT document_id FROM paths WHERE path = ? AND collection_id = ?)",
        (file.mtime_ns / 1e9, file.path, collection),
    )


def delete_document(connection: apsw.Connection, document_id: int) -> None:
    """Removes a document, its chunks in every generation, and every path to it."""
    connection.execute("DELETE FROM paths WHERE document_id = ?", (document_id,))
    _delete_if_unreachable(connection, document_id)


def exclude_from_root(connection: apsw.Connection, root_id: int, path: str) -> None:
    """Makes a root pass over one path or record from now on, so that `sync` does not bring back what was removed."""
    row: Any = connection.execute(
        "SELECT path, exclude FROM roots WHERE id = ? AND kind IN ('folder', 'records')", (root_id,)
    ).fetchone()
    if row is None or path == row[0]:
        return
    rest = path.removeprefix(row[0])
    pattern = rest if rest.startswith("#") else exact_pattern(rest)
    patterns = sorted({*json.loads(row[1]), pattern})
    connection.execute("UPDATE roots SET exclude = ? WHERE id = ?", (json.dumps(patterns), root_id))


def exact_pattern(relative: str) -> str:
    """The .gitignore pattern of exactly one path below the root ("/a/b [1].md")."""
    escaped = "".join("\\" + character if character in "\\*?[]!# " else character for character in relative)
    return escaped if escaped.startswith("/") else "/" + escaped


def drop_empty_roots(connection: apsw.Connection, named: Sequence[str]) -> None:
    """Forgets roots that lead to nothing any more, single files and those in `named`, so that `sync` leaves them alone."""
    connection.execute(
        "DELETE FROM roots WHERE (kind = 'file' OR path IN (SELECT value FROM json_each(?))) "
        "AND NOT EXISTS (SELECT 1 FROM paths p WHERE p.root_id = roots.id)",
        (json.dumps(list(named)),),
    )


def complete_import(connection: apsw.Connection, document_id: int, version: int, text_sha256: str) -> None:
    """Gives a document that was imported the version that it had, and the hash that its text was found to have."""
    connection.execute(
        "UPDATE documents SET version = ?, text_sha256 = ? WHERE id = ?", (version, text_sha256, document_id)
    )


def delete_chunks(connection: apsw.Connection, condition: str, bindings: Sequence[int]) -> None:
    """Deletes chunks with all that belongs to them, and logs each for the derived and the external indexes."""
    query = f"SELECT id, generation_id FROM chunks WHERE {condition} LIMIT {_DELETED_TOGETHER}"
    while rows := connection.execute(query, tuple(bindings)).fetchall():
        for chunk_id, generation_id in rows:
            connection.execute("DELETE FROM phrases WHERE rowid = ?", (chunk_id,))
            connection.execute("DELETE FROM term_counts WHERE chunk_id = ?", (chunk_id,))
            connection.execute("DELETE FROM vectors WHERE chunk_id = ?", (chunk_id,))
            connection.execute(
                "INSERT INTO deletions (chunk_id, generation_id) VALUES (?, ?)", (chunk_id, generation_id)
            )
            connection.execute(
                "INSERT INTO outbox (operation, chunk_id, generation_id) VALUES ('delete', ?, ?)",
                (chunk_id, generation_id),
            )
            connection.execute("DELETE FROM chunks WHERE id = ?", (chunk_id,))
            fault_point("statement")


def _insert_document(connection: apsw.Connection, collection: int, read: ReadDocument) -> int:
    columns = _document_columns(read)
    names = ", ".join(columns)
    marks = ", ".join("?" * (len(columns) + 1))
    connection.execute(
        f"INSERT INTO documents (collection_id, {names}) VALUES ({marks})", (collection, *columns.values())
    )
    return connection.last_insert_rowid()


def _update_document(connection: apsw.Connection, document_id: int, read: ReadDocument, version_step: int) -> int:
    columns = _document_columns(read)
    assignments = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(
        f"UPDATE documents SET {assignments}, version = version + ? WHERE id = ?",
        (*columns.values(), version_step, document_id),
    )
    return document_id


def _document_columns(read: ReadDocument) -> dict[str, str | int | float]:
    file = read.file
    return {
        "sha256": file.sha256,
        "suffix": file.suffix,
        "kind": read.kind,
        "title": read.title,
        "language": read.language,
        "modified": file.mtime_ns / 1e9,
        "size_bytes": file.size_bytes,
        "text_sha256": read.text_sha256,
        "receipt": read.receipt,
        "metadata": read.metadata,
    }


def _put_parts(connection: apsw.Connection, document_id: int, parts: Iterable[ReadPart]) -> Iterator[ChunksOfPart]:
    """Stores text, blocks and anchors part by part, and gives the chunks that belong to each."""
    for part in parts:
        connection.execute(
            "INSERT INTO parts (document_id, start, byte_start, glue, opening, blocks, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (document_id, part.start, part.byte_start, part.glue, part.opening, part.blocks, part.text),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO anchors VALUES (?, ?, ?, ?)",
            ((document_id, part.start + start, part.start + end, run) for start, end, run in part.anchors),
        )
        yield ChunksOfPart(part.start, part.byte_start, part.chunks)


def _put_path(connection: apsw.Connection, file: FoundFile, collection: int, document_id: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO paths (path, collection_id, root_id, document_id, size_bytes, mtime_ns, failure) "
        "VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (file.path, collection, file.root_id, document_id, file.size_bytes, file.mtime_ns),
    )


def _path_count(connection: apsw.Connection, document_id: int) -> int:
    return int(connection.execute("SELECT count(*) FROM paths WHERE document_id = ?", (document_id,)).get)


def _delete_if_unreachable(connection: apsw.Connection, document_id: int) -> None:
    if _path_count(connection, document_id) == 0:
        _delete_content(connection, document_id)
        connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))


def _delete_content(connection: apsw.Connection, document_id: int) -> None:
    delete_chunks(connection, "document_id = ?", (document_id,))
    connection.execute("DELETE FROM anchors WHERE document_id = ?", (document_id,))
    connection.execute("DELETE FROM parts WHERE document_id = ?", (document_id,))


def _tell_outbox(connection: apsw.Connection, operation: str, document_id: int, generation_id: int) -> None:
    connection.execute(
        "INSERT INTO outbox (operation, chunk_id, generation_id) "
        "SELECT ?, id, generation_id FROM chunks WHERE document_id = ? AND generation_id = ? ORDER BY id",
        (operation, document_id, generation_id),
    )
