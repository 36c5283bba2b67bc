"""Blocks are put end to end; tables are one line a row; another document can be taken in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from document_samples import cells, check, texts
from openbook.library.documents.build import Builder, Cell, Line, encodable, flat

KINDS = st.sampled_from(["heading", "paragraph", "list", "code", "figure"])
ROWS = st.lists(st.lists(st.text(max_size=8), max_size=4), max_size=5)


@given(st.lists(st.one_of(st.tuples(KINDS, st.text(max_size=30)), ROWS), max_size=8), st.integers(0, 3))
def test_whatever_is_added_gives_a_sound_document(parts: list[object], header_rows: int) -> None:
    builder = Builder("text")
    for part in parts:
        if isinstance(part, tuple):
            builder.add(part[0], part[1])
        else:
            assert isinstance(part, list)
            rows = [[Cell(text, f"R{r}C{c}") for c, text in enumerate(row)] for r, row in enumerate(part)]
            builder.table(rows, header_rows=header_rows)
    check(builder.document("t"))


def test_a_row_is_one_line_and_every_cell_has_its_anchor() -> None:
    builder = Builder("csv")
    rows = [
        [Cell("Item", "A1"), Cell("Price", "B1")],
        [Cell("", "A2")],
        [Cell("Tea\ncup", "A3"), Cell("5 %", "B3", "0.05")],
    ]
    builder.table(rows, header_rows=1, sheet="S")
    document = builder.document()
    assert document.text == "Item | Price\nTea cup | 5 %"
    assert document.text[document.blocks[0].start : document.blocks[0].header_end] == "Item | Price"
    assert cells(document) == {"A1": "Item", "B1": "Price", "A3": "Tea cup", "B3": "5 %"}
    assert [a.raw for a in document.anchors] == [None, None, None, "0.05"]


def test_a_row_that_begins_empty_keeps_its_anchors() -> None:
    builder = Builder("csv")
    builder.table([[Cell("", "A1"), Cell("2024", "B1")], [Cell("Sales", "A2"), Cell("7", "B2")]])
    assert cells(builder.document()) == {"B1": "2024", "A2": "Sales", "B2": "7"}


def test_embedding_moves_blocks_and_anchors() -> None:
    inner = Builder("csv")
    inner.table([[Cell("a", "A1"), Cell("b", "B1")], [Cell("c", "A2")]], header_rows=1)
    outer = Builder("eml")
    outer.add("heading", "Mail")
    outer.embed(inner.document(), part="attachment:x.csv")
    document = outer.document()
    check(document)
    assert texts(document) == ["Mail", "a | b\nc"]
    assert cells(document) == {"A1": "a", "B1": "b", "A2": "c"}
    assert {a.part for a in document.anchors} == {"attachment:x.csv"}


def test_lines_are_joined_and_anchored() -> None:
    builder = Builder("pdf")
    builder.lines("paragraph", [Line("exam", 1, (0, 0, 1, 1), ""), Line("ple text", 1, (0, 1, 1, 2), " ")])
    document = builder.document()
    assert document.text == "example text"
    assert [document.text[a.start : a.end] for a in document.anchors] == ["exam", "ple text"]


def test_text_that_utf8_cannot_hold_is_replaced_in_place() -> None:
    assert encodable("a\x00b\ud800c") == "a\ufffdb\ufffdc"
    assert flat(" a \n\t b ") == "a b"
