"""PDF: lines and boxes, columns, furniture, tables, pages without text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from document_samples import Text, blocks, cells, pdf, texts
from openbook.core.errors import UnreadableFile
from openbook.library.documents.model import Document
from openbook.library.documents.read import read_document, read_source
from openbook.library.documents.source import Source

Read = Callable[[str, bytes], Document]

LEFT = [f"left column line number {n} with some words" for n in range(6)]
RIGHT = [f"right column line number {n} with other words" for n in range(6)]


def column(lines: Sequence[str], x: float, top: float) -> list[Text]:
    return [(x, top - 14 * number, 10, line) for number, line in enumerate(lines)]


def test_lines_have_pages_and_boxes_from_the_top_left(read: Read) -> None:
    document = read("a.pdf", pdf([[(72, 720, 12, "Hello (world)")], [(100, 100, 12, "Second page")]]))
    assert texts(document) == ["Hello (world)", "Second page"]
    assert [block.page for block in document.blocks] == [1, 2]
    box = document.anchors[0].box
    assert box is not None
    left, top, right, bottom = box
    assert 71 < left < 74
    assert 792 - 720 - 14 < top < bottom < 792 - 720 + 6
    assert 130 < right < 160


def test_a_rotated_page_has_boxes_as_it_is_shown(read: Read) -> None:
    box = read("a.pdf", pdf([[(72, 720, 12, "Hello")]], rotate=90)).anchors[0].box
    assert box is not None
    assert box[0] > 700 and 70 < box[1] < 75  # the top of the sheet is now its right edge


def test_two_columns_are_read_one_after_the_other_below_a_common_title(read: Read) -> None:
    title = [(72.0, 740.0, 20.0, "A title across both of the columns of this page")]
    lines = [pair for both in zip(column(LEFT, 60, 700), column(RIGHT, 330, 700), strict=True) for pair in both]
    document = read("a.pdf", pdf([title + lines]))
    assert texts(document) == [title[0][3], " ".join(LEFT), " ".join(RIGHT)]
    assert next((block.kind, block.level) for block in document.blocks) == ("heading", 1)
    assert document.title == title[0][3]


def test_words_broken_by_a_hyphen_are_joined(read: Read) -> None:
    document = read("a.pdf", pdf([column(["The commit-", "tee met on a well-known day."], 72, 700)]))
    assert texts(document) == ["The committee met on a well-known day."]
    assert [document.text[a.start : a.end] for a in document.anchors] == ["The commit", "tee met on a well-known day."]


def test_running_lines_and_page_numbers_are_left_out_and_named(read: Read) -> None:
    bodies = ["First page talks about apples.", "Second page talks about pears.", "Third page talks about plums."]
    pages: list[list[Text]] = [
        [(72, 770, 9, "ACME Handbook 2024"), (72, 600, 11, body), (300, 30, 9, f"Page {number} of 3")]
        for number, body in enumerate(bodies, start=1)
    ]
    document = read("a.pdf", pdf(pages))
    assert texts(document) == bodies
    notes = " ".join(document.receipt.notes)
    assert "ACME Handbook" in notes and "page numbers" in notes and "3 of 3 pages" in notes


def test_a_repeated_line_in_the_body_stays(read: Read) -> None:
    document = read("a.pdf", pdf([[(72, 400, 11, "The same sentence.")]] * 3))
    assert texts(document) == ["The same sentence."] * 3


def test_a_ruled_table_has_cells_with_boxes_and_a_header(read: Read) -> None:
    rules = [f"72 {y} m 372 {y} l S" for y in (700, 680, 660, 640)] + [f"{x} 640 m {x} 700 l S" for x in (72, 222, 372)]
    values = [("Item", "Price"), ("Tea", "5 euros"), ("Coffee", "7 euros")]
    lines: list[Text] = [(72, 750, 11, "Prices of this year:")]
    for row, pair in enumerate(values):
        lines += [(78 + 150 * c, 686 - 20 * row, 11, text) for c, text in enumerate(pair)]
    document = read("a.pdf", pdf([[*lines, (72, 600, 11, "Text below the table.")]], drawing="\n".join(rules)))
    assert texts(document) == [
        "Prices of this year:",
        "Item | Price\nTea | 5 euros\nCoffee | 7 euros",
        "Text below the table.",
    ]
    table = blocks(document, "table")[0]
    assert document.text[table.start : table.header_end] == "Item | Price"
    anchor = next(a for a in document.anchors if a.cell == "R2C2")
    assert anchor.page == 1
    assert anchor.box == pytest.approx((222, 112, 372, 132), abs=1)


def test_columns_without_rules_are_a_table(read: Read) -> None:
    rows = [("Name", "Grade", "Days"), ("Ann", "B2", "30"), ("Bo", "C1", "25")]
    lines: list[Text] = [
        (72 + 120 * c, 700 - 16 * r, 11, text) for r, row in enumerate(rows) for c, text in enumerate(row)
    ]
    document = read("a.pdf", pdf([lines]))
    assert texts(document, "table") == ["Name | Grade | Days\nAnn | B2 | 30\nBo | C1 | 25"]
    assert cells(document)["R3C3"] == "25"


def test_a_page_without_text_is_named_loudly(read: Read) -> None:
    document = read("a.pdf", pdf([[(72, 700, 12, "Text")], []]))
    assert document.receipt.pages == 2
    assert document.receipt.pages_without_text == (2,)
    assert any(text.startswith("page 2: no text") for text in document.receipt.not_searchable)


def test_encrypted_pdf_is_named() -> None:
    plain = pdf([[(72, 700, 12, "Text")]])
    encrypt = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"ab" * 32 + b"> /U <" + b"cd" * 32 + b"> >> "
    locked = plain.replace(b"/Root 1 0 R", b"/Root 1 0 R " + encrypt + b"/ID [<00><00>]")
    with pytest.raises(UnreadableFile, match="encrypted"):
        read_source(Source("a.pdf", locked))


def test_real_tables_keep_their_rows(data: Path) -> None:
    document = read_document(data / "markitdown_docs" / "REPAIR-2022-INV-001_multipage.pdf", ocr=False)
    assert "Body Labor | 2 | 150 | 300" in document.text
    assert "Claim # | SF-1008 | Make | Jeep" in document.text
