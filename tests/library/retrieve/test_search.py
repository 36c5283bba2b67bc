"""Searching a library: modes, phrases, folding, staleness, and that what is committed is found at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from doubles import HashEmbedder
from openbook.core.errors import UsageError
from openbook.library.embed.open import describe_embedder


def names(hits) -> list[str]:
    return [Path(hit.path).name for hit in hits]


def test_a_hit_says_where_it_stands(open_library, folder):
    library = open_library()
    library.add(folder)
    result = library.search_result("ticket costs")
    hit = result.hits[0]
    text = library.text(hit.document_id)
    assert text[hit.start : hit.end] == hit.text
    assert hit.heading == ("Ferry", "Price")
    assert (hit.rank, hit.language, hit.stale, hit.title) == (1, "en", False, "Ferry")
    assert set(hit.scores) == {"dense", "bm25", "fused", "rerank"}
    assert hit.scores["dense"] is not None and hit.scores["bm25"] is not None
    plain = result.to_json()
    assert set(plain) == {"query", "generation", "hits", "timings_ms", "rerank", "warnings"}
    assert {"rank", "id", "document_id", "also_in", "anchors", "sha256", "modified", "score"} <= set(plain["hits"][0])
    assert {"embed_query", "bm25", "dense", "fuse", "fetch", "total"} <= set(plain["timings_ms"])


def test_a_document_is_found_by_the_first_search_after_its_commit(open_library, folder):
    library = open_library()
    library.add(folder)
    assert library.search("submarine", mode="bm25") == []
    other = open_library()
    (folder / "new.txt").write_text("A submarine lies in the dock.")
    other.add(folder)
    for mode in ("bm25", "hybrid"):
        assert names(library.search("submarine", mode=mode))[0] == "new.txt"
    other.remove("new.txt")
    assert library.search("submarine", mode="bm25") == []


def test_a_library_of_two_documents_ranks_sensibly(open_library, tmp_path):
    library = open_library()
    (tmp_path / "a.txt").write_text("Cats sleep in the sun all day.")
    (tmp_path / "b.txt").write_text("Dogs run in the sun all day.")
    library.add(tmp_path / "a.txt", tmp_path / "b.txt")
    for mode in ("bm25", "hybrid"):
        assert names(library.search("what do cats do", mode=mode))[0] == "a.txt"
        assert names(library.search("where do dogs run", mode=mode))[0] == "b.txt"


def test_phrases_prefixes_and_exclusions_limit_what_is_found(open_library, tmp_path):
    library = open_library()
    for name, text in {"a": "red boat on blue water", "b": "blue boat on red water", "c": "a boathouse"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    library.add(*sorted(tmp_path.glob("*.txt")))
    assert names(library.search('"blue boat"', mode="bm25")) == ["b.txt"]
    assert sorted(names(library.search("boat water -blue", mode="bm25"))) == []
    assert sorted(names(library.search("boat -house", mode="bm25"))) == ["a.txt", "b.txt"]
    assert names(library.search("boathou*", mode="dense")) == ["c.txt"]
    result = library.search_result('"green boat"', mode="bm25")
    assert names(result.hits) == ["a.txt", "b.txt"]
    assert "word for word" in result.warnings[0]


@pytest.mark.parametrize(
    "query", ['"', "NEAR(", "AND OR NOT", "a:b", "* *", "^x", "'; DROP TABLE chunks; --", "\x00", "((("]
)
def test_operators_of_a_query_language_are_just_text(open_library, folder, query):
    library = open_library()
    library.add(folder)
    library.search(query)
    assert library.check() == []


@pytest.mark.parametrize(
    ("query", "k", "mode"),
    [("", 10, "bm25"), ("  ", 10, "bm25"), ("x" * 9_000, 10, "bm25"), ("x", 0, "bm25"), ("x", 10, "fast")],
)
def test_a_malformed_search_says_what_is_allowed(open_library, folder, query, k, mode):
    library = open_library()
    library.add(folder)
    with pytest.raises(UsageError):
        library.search(query, k, mode=mode)


def test_equal_passages_are_folded_and_those_that_differ_in_a_number_are_not(open_library, tmp_path):
    library = open_library()
    (tmp_path / "a.md").write_text("The harbour fee is 12 euros a day.")
    (tmp_path / "b.txt").write_text("The harbour fee is 12 euros a day.")
    (tmp_path / "c.txt").write_text("The harbour fee is 13 euros a day.")
    library.add(*sorted(tmp_path.glob("*.*")))
    hits = library.search("harbour fee", mode="bm25")
    assert sorted([Path(hit.path).name, *(Path(path).name for path in hit.also_in)] for hit in hits) == [
        ["a.md", "b.txt"],
        ["c.txt"],
    ]


def test_a_question_in_a_language_that_the_embedder_lacks_uses_bm25_and_says_so(open_library, folder):
    library = open_library(embedder=HashEmbedder(languages=frozenset({"en"})))
    library.add(folder)
    result = library.search_result("渡轮几点出发")
    assert names(result.hits)[0] == "渡轮.md"
    assert result.hits[0].scores["dense"] is None
    assert "不懂中文" in result.warnings[0]
    assert library.search_result("when does the ferry leave").warnings == []


def test_without_an_embedder_search_uses_bm25_and_names_the_cure(open_library, folder):
    library = open_library(embedder="none")
    library.add(folder)
    result = library.search_result("ticket")
    assert names(result.hits) == ["ferry.md"]
    cure = "openbook reembed default" if describe_embedder(None) else "openbook setup embedder"
    assert cure in result.warnings[0]
    with pytest.raises(UsageError, match="no vectors"):
        library.search("ticket", mode="dense")


def test_a_changed_file_is_stale_until_it_is_read_again(open_library, folder):
    library = open_library()
    library.add(folder)
    (folder / "ferry.md").write_text("# Ferry\n\nA ticket costs 99 euros.")
    hit = library.search("ticket", mode="bm25")[0]
    assert hit.stale and "12 euros" in hit.text
    (folder / "ferry.md").unlink()
    assert library.search("ticket", mode="bm25")[0].stale


class Backwards:
    """A reranker that prefers the shortest text."""

    name = "backwards"

    def rank(self, query, texts):
        import numpy as np

        return np.array([-len(text) for text in texts], np.float32)


def test_a_reranker_orders_the_hits(open_library, folder):
    library = open_library(reranker=Backwards())
    library.add(folder)
    hits = library.search("the ferry, its price, the hall and the key", mode="hybrid")
    lengths = [len(hit.text) for hit in hits]
    assert lengths == sorted(lengths)
    ranks = [hit.scores["rerank"] for hit in hits]
    assert None not in ranks and ranks == sorted(ranks, reverse=True)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_readers_search_while_a_writer_adds(open_library, tmp_path):
    library = open_library()
    (tmp_path / "first.txt").write_text("A heron stands in the water.")
    library.add(tmp_path / "first.txt")
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                for hit in library.search("heron water"):
                    assert library.text(hit.document_id)[hit.start : hit.end] == hit.text
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(6):
        (tmp_path / f"more{number}.txt").write_text(f"Another heron, number {number}, by the water.")
        library.add(tmp_path / f"more{number}.txt")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(library.search("heron", mode="bm25")) == 7


def test_a_passage_stands_under_one_heading_and_on_its_page(open_library, tmp_path):
    """Neighbouring sections about the same thing are not merged into one passage with one of their headings."""
    sections = (
        "## New Jersey\n\nEmployees get 26 weeks of paid leave.\n\n## Oregon\n\nEmployees get 14 weeks of paid leave.\n"
    )
    text = f"# Leave\n\n{sections}"
    (tmp_path / "leave.md").write_text(text)
    library = open_library()
    library.add(tmp_path / "leave.md")
    hits = library.search("weeks of paid leave", mode="bm25")
    assert {(hit.heading[-1], "26" in hit.text, "14" in hit.text) for hit in hits} == {
        ("New Jersey", True, False),
        ("Oregon", False, True),
    }


def test_a_collection_that_does_not_exist_is_named(open_library, folder):
    library = open_library()
    library.add(folder)
    with pytest.raises(UsageError, match="no collection 'nope'"):
        library.search("ticket", collections=["nope"])
