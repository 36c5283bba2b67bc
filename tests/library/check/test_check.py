"""`check` sees twelve corruptions made by hand, and `--repair` mends each without losing what a file still holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

Corruption = Callable[[apsw.Connection, Path], None]


def sql(statement: str) -> Corruption:
    def corrupt(connection: apsw.Connection, directory: Path) -> None:
        connection.execute(statement)

    return corrupt


def flip_byte_of_derived(kind: str) -> Corruption:
    def corrupt(connection: apsw.Connection, directory: Path) -> None:
        path = next((directory / "derived").glob(f"*.{kind}"))
        data = bytearray(path.read_bytes())
        data[-10] ^= 0xFF
        path.write_bytes(bytes(data))

    return corrupt


def truncate_derived(connection: apsw.Connection, directory: Path) -> None:
    path = next((directory / "derived").glob("*.bm25"))
    path.write_bytes(path.read_bytes()[:100])


CORRUPTIONS: dict[str, Corruption] = {
    "a document's text was changed": sql("UPDATE parts SET text = replace(text, '12', '13') WHERE document_id = 1"),
    "a document's blocks are garbage": sql("UPDATE parts SET blocks = x'00ff' WHERE document_id = 1"),
    "a chunk's span was moved": sql("UPDATE chunks SET start = start + 1 WHERE id = 1"),
    "a chunk is missing": sql("DELETE FROM chunks WHERE id = 2"),
    "term counts are missing": sql("DELETE FROM term_counts WHERE chunk_id = 1"),
    "term counts are those of another chunk": sql(
        "UPDATE term_counts SET counts = (SELECT counts FROM term_counts WHERE chunk_id = 2) WHERE chunk_id = 1"
    ),
    "a vector is missing": sql("DELETE FROM vectors WHERE chunk_id = 1"),
    "two vectors were exchanged": sql(
        "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE chunk_id = 2) WHERE chunk_id = 1"
    ),
    "a vector was zeroed": sql("UPDATE vectors SET vector = zeroblob(64) WHERE chunk_id = 1"),
    "the full text lacks a chunk": sql("DELETE FROM phrases WHERE rowid = 1"),
    "a chunk belongs to no document": sql(
        "PRAGMA foreign_keys = OFF; UPDATE chunks SET document_id = 999 WHERE id = 2"
    ),
    "a document has no path": sql("PRAGMA foreign_keys = OFF; DELETE FROM paths WHERE document_id = 2"),
    "a derived file has a flipped byte": flip_byte_of_derived("bm25"),
    "the vectors' file has a flipped byte": flip_byte_of_derived("vectors"),
    "a derived file was cut off": truncate_derived,
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_seen_and_mended(open_library, folder, name):
    library = open_library()
    library.add(folder)
    with library.store.catalogue.read() as connection:
        library.store.indexes.rebuild(connection, library.store.generation())
    assert library.check() == []
    path = library.store.catalogue.path
    library.close()
    connection = apsw.Connection(str(path))
    CORRUPTIONS[name](connection, path.parent)
    connection.close()

    library = open_library()
    problems = library.check()
    assert problems, f"not seen: {name}"
    library.repair(problems)
    assert library.check() == []
    library.add(folder)
    assert Path(library.search("ticket costs", mode="bm25")[0].path).name == "ferry.md"
    assert "12 euros" in library.text("ferry.md")
    assert library.search("warden", mode="bm25")[0].text


def test_a_flipped_byte_of_the_database_itself_is_seen(open_library, folder):
    library = open_library()
    library.add(folder)
    path = library.store.catalogue.path
    library.close()
    connection = apsw.Connection(str(path))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'paths_document'").get
    size = connection.pragma("page_size")
    connection.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size] = 0xEE
    path.write_bytes(bytes(data))
    library = open_library()
    assert any(problem.cure == "file" for problem in library.check())


def test_a_document_whose_text_and_file_are_both_gone_is_said_to_be_lost(open_library, folder):
    library = open_library()
    library.add(folder)
    (folder / "ferry.md").unlink()
    with library.store.catalogue.write() as connection:
        connection.execute(
            "UPDATE parts SET text = 'x' WHERE document_id = (SELECT id FROM documents WHERE title = 'Ferry')"
        )
    done = library.repair(library.check())
    assert any("was lost" in line and "ferry.md" in line for line in done)
    assert library.check() == []
    assert len(library.documents()) == 2
