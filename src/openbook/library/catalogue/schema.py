"""The tables of `library.sqlite3`, the truth of a library. Everything under `derived/` can be made from them.

Reading order: collections and who may read them; roots and the paths found there; documents and their text; generations, and
what a generation owns (chunks, term counts, vectors); the logs that derived and external indexes follow; the ingest lease.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import apsw
import msgpack

from openbook.core.errors import CorruptLibrary

SCHEMA_VERSION = 2

PARTS = """
CREATE TABLE parts (                        -- the text of a document: one part, or as many as a large file was read in
    id INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    start INTEGER NOT NULL,                 -- code points of the document before `text`
    byte_start INTEGER NOT NULL,            -- the same in UTF-8 bytes
    glue TEXT NOT NULL,                     -- what stands before `text`
    opening TEXT NOT NULL,                  -- JSON: what holds where the part begins; '' for the first
    blocks BLOB NOT NULL,                   -- packed, see packing.py; before the text, to be read without it
    text TEXT NOT NULL,
    UNIQUE (document_id, start)
);
"""

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE grants (                       -- a principal sees the collections granted to it, and no others
    collection_id INTEGER NOT NULL REFERENCES collections(id) ON DELETE CASCADE,
    principal TEXT NOT NULL,
    PRIMARY KEY (principal, collection_id)
) WITHOUT ROWID;

CREATE TABLE roots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,                     -- absolute
    collection_id INTEGER NOT NULL REFERENCES collections(id),
    kind TEXT NOT NULL CHECK (kind IN ('folder', 'file', 'records')),
    exclude TEXT NOT NULL DEFAULT '[]',     -- JSON list of patterns
    UNIQUE (path, collection_id)
);

CREATE TABLE documents (                    -- one row a content, however many paths lead to it
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections(id),
    sha256 TEXT NOT NULL,                   -- of the file's bytes
    suffix TEXT NOT NULL,                   -- the same bytes under another suffix are read in another way
    version INTEGER NOT NULL DEFAULT 1,     -- rises when the file behind a path changes
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    language TEXT NOT NULL,
    modified REAL NOT NULL,                 -- of the file, seconds since 1970
    size_bytes INTEGER NOT NULL,
    text_sha256 TEXT NOT NULL,              -- of the text of all parts
    receipt TEXT NOT NULL,                  -- JSON
    metadata TEXT NOT NULL DEFAULT '{{}}',    -- JSON
    UNIQUE (collection_id, sha256, suffix)
);
{PARTS}
CREATE TABLE anchors (                      -- where the text stands in the file, in runs of up to 256
    document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    run BLOB NOT NULL,                      -- packed, see packing.py
    PRIMARY KEY (document_id, start)
) WITHOUT ROWID;

CREATE TABLE paths (
    path TEXT NOT NULL,
    collection_id INTEGER NOT NULL REFERENCES collections(id),
    root_id INTEGER NOT NULL REFERENCES roots(id),
    document_id INTEGER REFERENCES documents(id),   -- NULL: found, but never read
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    failure TEXT,                           -- why the newest content of this path could not be read
    PRIMARY KEY (path, collection_id)
) WITHOUT ROWID;
CREATE INDEX paths_document ON paths (document_id);

CREATE TABLE generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL CHECK (state IN ('active', 'building', 'retired')),
    splitter TEXT NOT NULL,                 -- JSON: name and settings
    embedder TEXT,                          -- how it was named; NULL: BM25 only
    embedder_hash TEXT,
    dimension INTEGER,
    tokenizer_version TEXT NOT NULL
);
CREATE UNIQUE INDEX one_active ON generations (state) WHERE state = 'active';

CREATE TABLE chunks (                       -- never changed, and an id is never used again
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation_id INTEGER NOT NULL REFERENCES generations(id),
    document_id INTEGER NOT NULL REFERENCES documents(id),
    start INTEGER NOT NULL,                 -- code points of the document's text
    "end" INTEGER NOT NULL,
    byte_start INTEGER NOT NULL,            -- the same slice in its UTF-8 bytes
    byte_end INTEGER NOT NULL,
    prefix TEXT NOT NULL,                   -- index text = prefix + slice
    heading TEXT NOT NULL,                  -- JSON list, outermost first
    page INTEGER,
    tokens INTEGER NOT NULL,
    language TEXT NOT NULL,
    crc INTEGER NOT NULL                    -- of slice, prefix, term counts and vector
);
CREATE INDEX chunks_document ON chunks (document_id, generation_id, start);
CREATE TABLE term_counts (chunk_id INTEGER PRIMARY KEY, counts BLOB NOT NULL);
CREATE TABLE vectors (chunk_id INTEGER PRIMARY KEY, vector BLOB NOT NULL);      -- (E,) float16
CREATE VIRTUAL TABLE phrases USING fts5(tokens, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 0");

CREATE TABLE deletions (seq INTEGER PRIMARY KEY AUTOINCREMENT, chunk_id INTEGER NOT NULL, generation_id INTEGER NOT NULL);
CREATE TABLE outbox (                       -- what external indexes have still to be told
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL CHECK (operation IN ('upsert', 'delete')),
    chunk_id INTEGER NOT NULL,
    generation_id INTEGER NOT NULL
);
CREATE TABLE lease (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    token TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_start TEXT NOT NULL,
    host TEXT NOT NULL,
    heartbeat REAL NOT NULL
);
INSERT INTO collections (name) VALUES ('default');
"""


def _text_into_parts(connection: apsw.Connection) -> None:
    """Version 2: the text and blocks of a document stand in `parts`, and a run of anchors counts from its own start."""
    connection.execute(PARTS)
    connection.execute(
        "INSERT INTO parts (document_id, start, byte_start, glue, opening, blocks, text) "
        "SELECT id, 0, 0, '', '', blocks, text FROM documents ORDER BY id"
    )
    keys = connection.execute("SELECT document_id, start FROM anchors").fetchall()
    for document_id, start in keys:
        key = (document_id, start)
        run = connection.execute("SELECT run FROM anchors WHERE document_id = ? AND start = ?", key).get
        rows = [[row[0] - start, row[1] - start, *row[2:]] for row in msgpack.unpackb(zlib.decompress(run))]
        packed = zlib.compress(msgpack.packb(rows), 3)
        connection.execute("UPDATE anchors SET run = ? WHERE document_id = ? AND start = ?", (packed, *key))
    connection.execute("DROP INDEX chunks_document")
    connection.execute("CREATE INDEX chunks_document ON chunks (document_id, generation_id, start)")
    connection.execute("ALTER TABLE documents DROP COLUMN blocks")
    connection.execute("ALTER TABLE documents DROP COLUMN text")


MIGRATIONS: dict[int, Callable[[apsw.Connection], None]] = {1: _text_into_parts}
"""From schema version N to N + 1."""


def prepare_schema(connection: apsw.Connection) -> None:
    """Creates the tables of an empty file, or brings an older one up to `SCHEMA_VERSION`, in one transaction."""
    version = connection.pragma("user_version")
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise CorruptLibrary(
            f"the library has schema version {version}, this program knows up to {SCHEMA_VERSION}",
            "use the newer Openbook that wrote it",
        )
    connection.execute("BEGIN IMMEDIATE")  # others that do the same wait here, and find it done
    try:
        version = connection.pragma("user_version")
        if version == 0:
            connection.execute(SCHEMA)
            version = SCHEMA_VERSION
        while version < SCHEMA_VERSION:
            MIGRATIONS[version](connection)
            version += 1
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
