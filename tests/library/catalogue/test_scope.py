"""Filters and scopes: what they let through, and that nothing passes a scope, whatever the read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doubles import HashEmbedder
from openbook.assistant.desk import Library
from openbook.core.errors import UsageError
from openbook.library.catalogue import reads
from openbook.library.catalogue.scope import OWNER, Scope, parse_filter


@pytest.mark.parametrize("text", ["path", "size=3", "title>=a", "path=", "modified=yesterday", "=x"])
def test_a_malformed_filter_is_an_error_that_shows_the_right_form(text):
    with pytest.raises(UsageError):
        parse_filter(text)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["path=*.md"], ["ferry.md", "渡轮.md"]),
        (["path=docs/*.txt"], ["hall.txt"]),
        (["path!=*.md"], ["hall.txt"]),
        (["language=zh"], ["渡轮.md"]),
        (["title=Ferry"], ["ferry.md"]),
        (["kind=markdown", "language=en"], ["ferry.md"]),
        (["modified>=2001-01-01", "modified<2001-01-02"], []),
        (["modified>=1999-01-01"], ["ferry.md", "hall.txt", "渡轮.md"]),
    ],
)
def test_filters_choose_documents(open_library, folder, filters, names):
    library = open_library()
    library.add(folder)
    scope = Scope(filters=tuple(parse_filter(text) for text in filters))
    assert [row.paths[0].rpartition("/")[2] for row in library.documents(scope=scope)] == names
    generation = library.store.generation()
    with library.store.catalogue.read() as connection:
        allowed = reads.allowed_chunk_ids(connection, scope, generation.id)
        every = reads.every_chunk_id(connection, generation.id)
        shown = reads.chunks_by_id(connection, scope, generation.id, every.tolist())
    assert allowed is not None
    assert sorted(shown) == allowed.tolist()


def test_a_principal_sees_what_was_granted_and_nothing_else(open_library, folder):
    library = open_library()
    library.add(folder / "ferry.md", collection="public")
    library.add(folder / "hall.txt", collection="inner")
    query = "warden ticket key"
    assert library.search(query, principal="guest", mode="bm25") == []
    with library.store.catalogue.write() as connection:
        connection.execute("INSERT INTO grants SELECT id, 'guest' FROM collections WHERE name = 'public'")
    for mode in ("bm25", "dense", "hybrid"):
        assert {hit.collection for hit in library.search(query, principal="guest", mode=mode)} == {"public"}
    assert library.search(query, principal="guest", collections=["inner"], mode="bm25") == []
    with pytest.raises(UsageError):
        library.text("hall.txt", scope=Scope("guest"))
    assert {hit.collection for hit in library.search(query, mode="bm25")} == {"public", "inner"}


def test_no_score_tells_of_words_that_only_hidden_documents_have(open_library, tmp_path):
    """What a guest is shown, scores and confidence included, is the same with and without a hidden collection."""
    seen, hidden = tmp_path / "seen", tmp_path / "hidden"
    for folder in (seen, hidden):
        folder.mkdir()
    for number in range(6):
        (seen / f"{number}.txt").write_text(f"The harbour pilot number {number} keeps a log of ships. " * (number + 1))
        (hidden / f"{number}.txt").write_text(f"The merger of the pilot with Zebra Holdings, part {number}.")
    library = open_library()
    library.add(seen, collection="public")

    def shown(query: str, **who: object) -> list[object]:
        rows = [(hit.path, hit.score, hit.scores) for hit in library.search(query, **who)]
        answer = library.ask(query, max_wrong=0.2, **who)
        return [rows, answer.confidence, answer.answer]

    queries = ("harbour pilot", "zebra pilot log", "who keeps the merger log?")
    with library.store.catalogue.write() as connection:
        connection.execute("INSERT INTO grants SELECT id, 'guest' FROM collections WHERE name = 'public'")
    guest, named = {"principal": "guest"}, {"collections": ["public"]}
    before = [shown(query, **who) for query in queries for who in (guest, named)]
    library.add(hidden, collection="inner")
    assert [shown(query, **who) for query in queries for who in (guest, named)] == before
    assert [shown(query) for query in queries for _ in range(2)] != before


def test_a_filter_takes_effect_before_the_best_are_taken(open_library, tmp_path):
    """The only passage that a filter keeps is found although a hundred others score higher."""
    library = open_library()
    for number in range(120):
        (tmp_path / f"a{number}.txt").write_text(f"harbour harbour harbour pilot {number}")
    (tmp_path / "last.md").write_text(
        "The harbour is one of many words in this long passage about other matters entirely."
    )
    library.add(tmp_path)
    for mode in ("bm25", "dense", "hybrid"):
        hits = library.search("harbour", 3, mode=mode, filters=["path=*.md"])
        assert [hit.path.rpartition("/")[2] for hit in hits] == ["last.md"]


@pytest.fixture(scope="module")
def three_collections(tmp_path_factory):
    """A library with one document in each of the collections a, b and c."""
    root = tmp_path_factory.mktemp("scopes")
    with Library.open(root / "library", embedder=HashEmbedder()) as library:
        for name in "abc":
            (root / f"{name}.txt").write_text(f"The common word, and {name}{name}{name}.")
            library.add(root / f"{name}.txt", collection=name)
        yield library


@given(grants=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["guest", "clerk"])), max_size=6))
def test_no_read_shows_a_forbidden_chunk(three_collections, grants):
    library = three_collections
    with library.store.catalogue.write() as connection:
        connection.execute("DELETE FROM grants")
        for row in set(grants):
            connection.execute("INSERT INTO grants SELECT id, ? FROM collections WHERE name = ?", row[::-1])
    generation = library.store.generation()
    for principal in ("guest", "clerk", "nobody"):
        may = {collection for collection, one in grants if one == principal}
        scope = Scope(principal)
        assert {row.collection for row in library.documents(scope=scope)} == may
        assert {hit.collection for hit in library.search("common word", principal=principal)} == may
        with library.store.catalogue.read() as connection:
            every = reads.every_chunk_id(connection, generation.id)
            allowed = reads.allowed_chunk_ids(connection, scope, generation.id)
            shown = reads.chunks_by_id(connection, scope, generation.id, every.tolist())
        assert np.array_equal(np.array(sorted(shown), np.int64), allowed)
        assert len(shown) == len(may)
    assert OWNER.is_everything
