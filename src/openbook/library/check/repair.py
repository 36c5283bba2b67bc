"""Mends what `inspect` found, from the documents' text where that is whole, and from their files where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from openbook.core.errors import CorruptLibrary
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.rows import DocumentRow, PartRow
from openbook.library.catalogue.scope import OWNER
from openbook.library.check.inspect import Problem
from openbook.library.ingest.add import AddOptions, add_paths
from openbook.library.lexical.tokenize import sequence
from openbook.library.reindex import prepare
from openbook.library.store import LibraryStore

_ORPHANS = (
    "DELETE FROM term_counts WHERE chunk_id NOT IN (SELECT id FROM chunks)",
    "DELETE FROM vectors WHERE chunk_id NOT IN (SELECT id FROM chunks)",
    "DELETE FROM anchors WHERE document_id NOT IN (SELECT id FROM documents)",
    "UPDATE paths SET document_id = NULL WHERE document_id NOT IN (SELECT id FROM documents)",
    "DELETE FROM paths WHERE root_id NOT IN (SELECT id FROM roots)",
)
_ORPHANED_CHUNKS = "document_id NOT IN (SELECT id FROM documents) OR generation_id NOT IN (SELECT id FROM generations)"


def repair(store: LibraryStore, problems: Sequence[Problem], progress: Progress = silent) -> list[str]:
    """What was done about each kind of problem, in words. What cannot be mended here is left and said."""
    cures = {problem.cure for problem in problems}
    if "file" in cures:
        return [_mend_file(store)]
    done: list[str] = []
    if "orphans" in cures:
        with store.catalogue.ingest_lease():
            done.append(_delete_orphans(store))
    reread = sorted({p.document_id for p in problems if p.cure == "reread" and p.document_id is not None})
    if reread:
        done += _read_again(store, reread, progress)
    reindex = sorted({p.document_id for p in problems if p.cure == "reindex" and p.document_id is not None})
    with store.catalogue.ingest_lease():
        if reindex:
            done.append(_index_again(store, reindex))
        if "phrases" in cures:
            done.append(_rebuild_phrases(store))
        with store.catalogue.read() as connection:
            store.indexes.rebuild(connection, active_generation(connection))
    store.indexes.forget()
    done.append("derived indexes rebuilt")
    if "reembed" in cures:
        done.append("the terms were counted by another version: run `openbook reembed` with the library's embedder")
    return done


def _delete_orphans(store: LibraryStore) -> str:
    with store.catalogue.write() as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        writes.delete_chunks(connection, _ORPHANED_CHUNKS, ())
        for statement in _ORPHANS:
            connection.execute(statement)
        unreachable = (
            "SELECT id FROM documents WHERE id NOT IN (SELECT document_id FROM paths WHERE document_id IS NOT NULL)"
        )
        lost: list[Any] = connection.execute(unreachable).fetchall()
        for (document_id,) in lost:
            writes.delete_document(connection, document_id)
    return "rows that belonged to nothing were deleted"


def _index_again(store: LibraryStore, document_ids: Sequence[int]) -> str:
    """Chunks of the active generation made again from the text; they get new ids."""
    generation = store.generation()
    for prepared in prepare(store, generation, document_ids):
        with store.catalogue.write() as connection:
            writes.delete_chunks(
                connection, "document_id = ? AND generation_id = ?", (prepared.document_id, generation.id)
            )
            writes.put_chunks(connection, prepared.document_id, generation.id, prepared.parts)
    return f"{len(document_ids)} documents were split, counted and embedded again from their text"


def _read_again(store: LibraryStore, document_ids: Sequence[int], progress: Progress) -> list[str]:
    """Documents whose stored text is damaged: read from their files, or dropped where those are gone."""
    done: list[str] = []
    for document_id in document_ids:
        with store.catalogue.read() as connection:
            row = reads.documents_by_id(connection, OWNER, [document_id]).get(document_id)
            sources = _sources(connection, row) if row is not None else []
        readable = [path for path in sources if path.is_file()]
        if row is None or not readable:
            with store.catalogue.ingest_lease(), store.catalogue.write() as connection:
                writes.delete_document(connection, document_id)
            names = ", ".join(row.paths) if row is not None else ""
            done.append(f"d{document_id} ({names}) was lost: its text is damaged and its file is gone")
            continue
        with store.catalogue.write() as connection:  # no bytes have this hash, so the file counts as changed
            connection.execute("UPDATE documents SET sha256 = ? WHERE id = ?", (f"damaged-{document_id}", document_id))
        options = AddOptions(collection=row.collection, records=row.suffix == "#record", reread=True)
        add_paths(store, readable, options, progress)
        done.append(f"d{document_id} was read again from {readable[0]}")
    return done


def _sources(connection: apsw.Connection, row: DocumentRow) -> list[Path]:
    """The files that a document is read from: its paths, or the file that holds the record."""
    known = [one for path in row.paths if (one := reads.path_row(connection, path, row.collection)) is not None]
    if row.suffix == "#record":
        return [Path(reads.root_path(connection, one.root_id)) for one in known]
    return [Path(one.path) for one in known]


def _rebuild_phrases(store: LibraryStore) -> str:
    """Document by document and part by part, in this process: counting words needs no limit on time."""
    with store.catalogue.write() as connection:
        connection.execute("INSERT INTO phrases (phrases) VALUES ('delete-all')")
        ids = [row[0] for row in connection.execute("SELECT id FROM documents ORDER BY id")]
        generations = [row[0] for row in connection.execute("SELECT id FROM generations")]
        for document_id in ids:
            for part in reads.document_parts(connection, document_id):
                for generation_id in generations:
                    _rebuild_phrases_of(connection, document_id, generation_id, part)
    return "the full text table was made again"


def _rebuild_phrases_of(connection: apsw.Connection, document_id: int, generation_id: int, part: PartRow) -> None:
    for row in list(reads.chunks_of_part(connection, document_id, generation_id, part)):
        text = part.text[row.start - part.start : row.end - part.start]
        connection.execute("INSERT INTO phrases (rowid, tokens) VALUES (?, ?)", (row.id, " ".join(sequence(text))))


def _mend_file(store: LibraryStore) -> str:
    """Rebuilds SQLite's own indexes; damaged pages of tables cannot be made good from the file itself."""
    try:
        with store.catalogue.write() as connection:
            connection.execute("REINDEX")
            left = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)") if row[0] != "ok"]
    except CorruptLibrary as error:
        left = [error.message]
    if not left:
        return "the database's indexes were made again; run `openbook check` once more"
    return (
        f"{store.catalogue.path} has damaged pages ({left[0]}): move it away and run `openbook add` on the same folders, "
        "or restore a copy"
    )
