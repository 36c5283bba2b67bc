"""Export and import: a library comes back the same, and another embedder is not taken for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.core.errors import UsageError
from openbook.library.exchange import export_library, import_library
from openbook.library.split.settings import SplitSettings

FILES = ("documents.jsonl", "chunks.jsonl", "vectors.safetensors")


def test_an_exported_library_comes_back_the_same(tmp_path, folder, minilm):
    from openbook.assistant.desk import Library

    with Library.open(tmp_path / "one", split=SplitSettings(chunk_tokens=32)) as library:
        library.add(folder)
        (folder / "hall.txt").write_text("The hall is red.")
        library.add(folder)
        assert library.export(tmp_path / "first") == 3
        expected = [(hit.path, hit.start, hit.text) for hit in library.search("when does the ferry leave", 3)]
    assert import_library(tmp_path / "two", tmp_path / "first") == 3
    with Library.open(tmp_path / "two", create=False) as library:
        assert library.check() == []
        assert [(hit.path, hit.start, hit.text) for hit in library.search("when does the ferry leave", 3)] == expected
        assert library.document("hall.txt").version == 2
        assert library.add(folder).totals()["unchanged"] == 3
        library.export(tmp_path / "second")
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_export_refuses_a_directory_that_holds_something(open_library, folder):
    library = open_library()
    library.add(folder)
    with pytest.raises(UsageError, match="not empty"):
        export_library(library.store, folder)


def test_import_of_something_else_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no exported library"):
        import_library(tmp_path / "library", Path(tmp_path))
    assert not (tmp_path / "library").exists()
