"""A library that an older version wrote is brought up to date when it is opened, and loses nothing."""

from __future__ import annotations

import zlib

import apsw
import msgpack
import pytest

from openbook.assistant.desk import Library
from openbook.library.catalogue.packing import unpack_anchors
from openbook.library.catalogue.schema import SCHEMA_VERSION


def to_version_1(connection: apsw.Connection) -> None:
    """Takes a library of small documents back to the schema of version 1, whose `documents` held text and blocks."""
    connection.execute(
        "ALTER TABLE documents ADD COLUMN text TEXT NOT NULL DEFAULT ''; "
        "ALTER TABLE documents ADD COLUMN blocks BLOB NOT NULL DEFAULT x''; "
        "UPDATE documents SET text = (SELECT text FROM parts WHERE document_id = documents.id), "
        "blocks = (SELECT blocks FROM parts WHERE document_id = documents.id)"
    )
    for document_id, start, run in connection.execute("SELECT document_id, start, run FROM anchors").fetchall():
        rows = [[*anchor] for anchor in unpack_anchors(run, start)]
        packed = zlib.compress(msgpack.packb(rows))
        connection.execute(
            "UPDATE anchors SET run = ? WHERE document_id = ? AND start = ?", (packed, document_id, start)
        )
    connection.execute(
        "DROP TABLE parts; DROP INDEX chunks_document; "
        "CREATE INDEX chunks_document ON chunks (document_id, generation_id); PRAGMA user_version = 1"
    )


@pytest.mark.parametrize("first", ["search", "check", "add", "text"])
def test_a_library_of_version_1_is_opened_and_keeps_everything(open_library, folder, tmp_path, first):
    (folder / "prices.csv").write_text("Name,Price\n" + "".join(f"Widget {n},{n}\n" for n in range(400)))
    library = open_library(embedder="none")
    library.add(folder)
    library.export(tmp_path / "before")
    expected = [(hit.id, hit.text, hit.anchors) for hit in library.search("Widget 377", 3, mode="bm25")]
    path = library.store.catalogue.path
    library.close()
    connection = apsw.Connection(str(path))
    with connection:
        to_version_1(connection)
    assert {row[1] for row in connection.execute("PRAGMA table_info(documents)")} >= {"text", "blocks"}
    connection.close()

    with Library.open(path.parent, create=False) as old:
        if first == "search":
            assert [(hit.id, hit.text, hit.anchors) for hit in old.search("Widget 377", 3, mode="bm25")] == expected
        elif first == "add":
            assert old.add(folder).totals()["unchanged"] == 4
        elif first == "text":
            assert old.text("ferry.md").startswith("Ferry")
        assert old.check() == []
        assert [(hit.id, hit.text, hit.anchors) for hit in old.search("Widget 377", 3, mode="bm25")] == expected
        old.export(tmp_path / "after")
    for name in ("documents.jsonl", "chunks.jsonl"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == SCHEMA_VERSION
    connection.close()
