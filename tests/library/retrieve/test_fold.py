"""Folding: equal passages become one, neighbours grow together, and nothing that differs is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.catalogue.rows import ChunkRow, DocumentRow
from openbook.library.retrieve.fold import MOST_CHUNKS, fold_passages


def chunk(
    id: int, document: int, text: str, start: int = 0, heading: tuple[str, ...] = (), page: int | None = None
) -> ChunkRow:
    return ChunkRow(id, document, start, start + len(text), text, heading, page, 0, "en")


def document(id: int, text_sha256: str = "") -> DocumentRow:
    return DocumentRow(
        id, "default", (f"/{id}.md",), "", ".md", 1, "markdown", "", "en", 0.0, 0, text_sha256 or str(id), ""
    )


DOCUMENTS = {i: document(i) for i in range(1, 6)}


def test_copies_are_folded_under_the_best() -> None:
    ranked = [chunk(1, 1, "Fifteen days of leave."), chunk(2, 2, "Fifteen  days\nof leave."), chunk(3, 3, "Other.")]
    passages = fold_passages(ranked, DOCUMENTS)
    assert [passage.best.id for passage in passages] == [1, 3]
    assert passages[0].also_in == ("/2.md",)
    assert passages[0].chunk_ids == (1,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The fee is 10 %.", "The fee is 12 %."),
        ("Ends on 2024-05-01.", "Ends on 2024-05-02."),
        ("Weighs 5 kg.", "Weighs 5 lb."),
        ("It is allowed.", "It is not allowed."),
        ("Ask Anna Li.", "Ask Anna Lu."),
        ("Area: 10² m", "Area: 102 m"),
        ("Ask the US team.", "Ask the us team."),
        ("年假十五天", "年假十天"),
        ("允许报销", "不允许报销"),
        ("5\t\t7", "5\t7"),
    ],
)
def test_a_different_number_date_unit_negation_or_name_is_another_passage(one: str, other: str) -> None:
    assert len(fold_passages([chunk(1, 1, one), chunk(2, 2, other)], DOCUMENTS)) == 2


def test_the_same_words_under_another_heading_are_another_passage() -> None:
    ranked = [chunk(1, 1, "The fee is 5 %.", heading=("Gold",)), chunk(2, 2, "The fee is 5 %.", heading=("Silver",))]
    assert len(fold_passages(ranked, DOCUMENTS)) == 2


def test_table_rows_are_copies_only_in_documents_of_equal_text() -> None:
    """The same cells may stand under another header."""
    ranked = [chunk(1, 1, "| 5 | 7 |"), chunk(2, 2, "| 5 | 7 |")]
    assert len(fold_passages(ranked, DOCUMENTS)) == 2
    same = {1: document(1, "same"), 2: document(2, "same")}
    assert len(fold_passages(ranked, same)) == 1


def test_neighbours_become_one_passage_in_text_order() -> None:
    ranked = [chunk(5, 1, "b" * 10, 12, page=2), chunk(4, 1, "a" * 10, 0, page=1), chunk(9, 1, "z" * 10, 90)]
    passages = fold_passages(ranked, DOCUMENTS)
    assert [(p.start, p.end, p.chunk_ids, p.best.id, p.page) for p in passages] == [
        (0, 22, (4, 5), 5, 1),
        (90, 100, (9,), 9, None),
    ]


def test_a_passage_stops_growing() -> None:
    ranked = [chunk(i, 1, "x" * 9 + str(i), 10 * i) for i in range(6)]
    passages = fold_passages(ranked, DOCUMENTS)
    assert [len(passage.chunk_ids) for passage in passages] == [MOST_CHUNKS, MOST_CHUNKS]


_CHUNKS = st.lists(
    st.tuples(
        st.integers(1, 5), st.integers(0, 40), st.sampled_from(["Pay 5 kg.", "Pay 6 kg.", "Do not pay.", "Pay 5  kg."])
    ),
    max_size=25,
)


@given(_CHUNKS)
def test_every_text_that_was_ranked_is_in_a_passage(rows: list[tuple[int, int, str]]) -> None:
    ranked = [chunk(i, doc, text, 10 * place) for i, (doc, place, text) in enumerate(rows)]
    passages = fold_passages(ranked, DOCUMENTS)
    kept = {chunk_id for passage in passages for chunk_id in passage.chunk_ids}
    texts = {" ".join(row.text.split()) for row in ranked}
    assert {" ".join(row.text.split()) for row in ranked if row.id in kept} == texts
    places = {path for passage in passages for path in (*DOCUMENTS[passage.best.document_id].paths, *passage.also_in)}
    assert places == {f"/{row.document_id}.md" for row in ranked}
    assert [passage.best.id for passage in passages] == sorted(passage.best.id for passage in passages)
