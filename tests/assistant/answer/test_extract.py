"""Quotations from files with places: rows with their header and the answering cell first, at most so many sentences."""

from __future__ import annotations

from collections.abc import Iterator

import openpyxl
import pytest

from openbook.assistant.answer.evidence import gather
from openbook.assistant.answer.extract import quote
from openbook.assistant.desk import Library
from openbook.library.retrieve.search import search

STORY = "The yard builds ferries. It was founded in 1921 by Ole Berg. It has 40 workers. They eat at noon. All go home."


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("extract")
    (root / "docs").mkdir()
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Parts"
    for row in (("Part", "Price (EUR)", "Weight (kg)"), ("Anchor", 310, 45), ("Rudder", 1290, 80), ("Mast", 75, 12)):
        sheet.append(row)
    book.save(root / "docs" / "parts.xlsx")
    book.close()
    (root / "docs" / "yard.txt").write_text(STORY)
    with Library.open(root / "library", embedder="none") as opened:
        opened.add(root / "docs")
        yield opened


def quoted(library: Library, question: str, sentences: int = 3, least: float = 0.0):
    evidence = gather(library.store, question, search(library.store, question, 10))
    found = quote(library.store, evidence, sentences=sentences, least=least)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("question", "cell", "value"),
    [
        ("What is the price of the rudder?", "B3", "1290"),
        ("What is the weight of the mast?", "C4", "12"),
        ("What is the weight of the anchor?", "C2", "45"),
    ],
)
def test_a_row_is_quoted_with_its_header_and_the_answering_cell_first(library, question, cell, value):
    citation = quoted(library, question).citation
    assert citation.anchors[0].sheet == "Parts"
    assert citation.anchors[0].cell == cell
    assert len(citation.anchors) == 3
    assert citation.table_header == "Part | Price (EUR) | Weight (kg)"
    assert "\n" not in citation.quote
    text = library.text("parts.xlsx")
    assert text[citation.anchors[0].start : citation.anchors[0].end] == value
    assert text[citation.start : citation.end] == citation.quote


@pytest.mark.parametrize("sentences", [1, 2, 3])
def test_no_more_sentences_than_asked_for(library, sentences):
    found = quoted(library, "In which year was the yard founded?", sentences)
    assert found.citation.quote.count(".") == sentences
    assert "1921" in found.citation.quote
    assert 0 < found.probability <= 1


def test_more_sentences_hold_more_of_the_probability(library):
    found = [quoted(library, "In which year was the yard founded?", n).probability for n in (1, 2, 3)]
    assert found == sorted(found)


def test_sentences_that_say_nothing_are_trimmed(library):
    assert len(quoted(library, "Who founded the yard?", 3, least=0.5).citation.quote) < len(STORY) / 2
