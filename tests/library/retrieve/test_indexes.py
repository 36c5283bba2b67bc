"""The derived indexes and the logs that they follow."""

from __future__ import annotations

import shutil
from pathlib import Path

from openbook.library.catalogue.logs import log_sizes, trimmed_to


def sizes(library) -> tuple[int, int]:
    with library.store.catalogue.read() as connection:
        return log_sizes(connection)


def write_walruses(folder: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        (folder / f"{number}.md").write_text(f"The walrus number {number}.")


def test_the_logs_do_not_grow_for_ever(open_library, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_walruses(docs, 0, 400)
    library = open_library(embedder="none")
    library.add(docs)
    assert sizes(library) == (0, 0)
    for number in range(300):
        (docs / f"{number}.md").unlink()
    library.sync()
    assert sizes(library) == (0, 0)
    with library.store.catalogue.read() as connection:
        assert trimmed_to(connection) == 300
    (docs / "399.md").unlink()
    library.sync()
    assert sizes(library) == (1, 0)  # the files have not passed this one yet
    assert library.check() == []


def test_a_search_that_is_behind_the_trimmed_log_opens_the_files_anew(open_library, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_walruses(docs, 0, 400)
    library, other = open_library(embedder="none"), open_library(embedder="none")
    library.add(docs)
    assert len(other.search("walrus", 5, mode="bm25")) == 5
    for number in range(390):
        (docs / f"{number}.md").unlink()
    library.sync()
    with other.store.catalogue.read() as connection:
        assert other.store.indexes.current(connection).lexical.count() == 10
    assert len(other.search("walrus", 100, mode="bm25")) == 10


def test_files_older_than_the_trimmed_log_are_made_again(open_library, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_walruses(docs, 0, 400)
    library = open_library(embedder="none")
    library.add(docs)
    derived = library.store.directory / "derived"
    shutil.copytree(derived, tmp_path / "old")
    for number in range(390):
        (docs / f"{number}.md").unlink()
    library.sync()
    library.close()
    shutil.rmtree(derived)
    shutil.copytree(tmp_path / "old", derived)
    again = open_library(embedder="none")
    with again.store.catalogue.read() as connection:
        assert again.store.indexes.current(connection).lexical.count() == 10
    assert again.check() == []


def test_an_outbox_that_is_read_keeps_what_was_not_taken(open_library, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_walruses(docs, 0, 5)
    library = open_library(embedder="none")
    with library.store.catalogue.write() as connection:
        connection.execute("INSERT INTO meta VALUES ('outbox_taken', '3')")
    library.add(docs)
    assert sizes(library) == (0, 2)
