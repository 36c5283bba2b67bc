"""`reembed`: the old generation answers until the new one is complete; an interruption loses nothing."""

from __future__ import annotations

import pytest

from doubles import HashEmbedder
from openbook.core.errors import IncompatibleEmbedder
from openbook.library import reindex
from openbook.library.catalogue.generations import building_generation
from openbook.library.split.settings import SplitSettings


def test_another_embedder_is_an_error_that_names_reembed(open_library, folder):
    open_library(embedder=HashEmbedder(32)).add(folder)
    other = open_library(embedder=HashEmbedder(48))
    with pytest.raises(IncompatibleEmbedder, match="openbook reembed"):
        other.search("ticket")
    assert other.search("ticket", mode="bm25")


def test_a_new_splitter_makes_a_new_generation_from_the_stored_text(open_library, folder):
    library = open_library(embedder="none", split=SplitSettings(chunk_tokens=16))
    library.add(folder)
    before = library.store.generation()
    for path in folder.iterdir():
        path.unlink()
    library.reembed("none", split=SplitSettings(chunk_tokens=64))
    after = library.store.generation()
    assert after.id > before.id
    assert library.check() == []
    assert library.search("ticket", mode="bm25")[0].text.endswith("12 euros.")
    with library.store.catalogue.read() as connection:
        assert connection.execute("SELECT count(DISTINCT generation_id) FROM chunks").get == 1


def test_an_interrupted_reembed_leaves_the_old_generation_and_is_resumed(open_library, folder, monkeypatch):
    library = open_library(embedder="none")
    library.add(folder)
    expected = [hit.path for hit in library.search("ticket", mode="bm25")]
    real = reindex.prepare
    made: list[int] = []

    def two_then_stop(*arguments):
        for number, prepared in enumerate(real(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield prepared

    def counted(*arguments):
        for prepared in real(*arguments):
            made.append(prepared.document_id)
            yield prepared

    monkeypatch.setattr(reindex, "prepare", two_then_stop)
    split = SplitSettings(chunk_tokens=64)
    with pytest.raises(KeyboardInterrupt):
        library.reembed("none", split=split)
    assert [hit.path for hit in library.search("ticket", mode="bm25")] == expected
    assert library.check() == []
    with library.store.catalogue.read() as connection:
        assert building_generation(connection) is not None
    monkeypatch.setattr(reindex, "prepare", counted)
    library.reembed("none", split=split)
    assert len(made) == 1
    assert library.check() == []
    assert [hit.path for hit in library.search("ticket", mode="bm25")] == expected
