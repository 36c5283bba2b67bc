"""The sample library with the real embedder: right places in both languages, and answers that follow a changed file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from openbook.assistant.desk import Library

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTIONS = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()]
DIRECT = [row for row in QUESTIONS if row["answer"] and not row["paraphrase"]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, minilm: Path):
    root = tmp_path_factory.mktemp("sample")
    shutil.copytree(EXAMPLES / "library", root / "docs")
    with Library.open(root / "library") as library:
        library.add(root / "docs")
        yield library


def test_a_third_of_the_questions_share_no_long_word_with_the_answer():
    answerable = [row for row in QUESTIONS if row["answer"]]
    assert sum(row["paraphrase"] for row in answerable) * 3 >= len(answerable)


@pytest.mark.parametrize("row", DIRECT, ids=[row["question"] for row in DIRECT])
def test_a_question_is_answered_from_the_right_place(sample, row):
    answer = sample.ask(row["question"])
    assert not answer.abstained
    citation = answer.citations[0]
    assert citation.path.endswith(row["path"])
    assert row["answer"] in citation.quote
    assert sample.text(citation.document_id)[citation.start : citation.end] == citation.quote
    if "page" in row:
        assert citation.page == row["page"]
    if "cell" in row:
        assert (row["sheet"], row["cell"]) in [(anchor.sheet, anchor.cell) for anchor in citation.anchors]
    if row["path"].endswith(".pdf"):
        assert all(anchor.box for anchor in citation.anchors)


@pytest.mark.parametrize("row", [row for row in QUESTIONS if not row["answer"]], ids=lambda row: row["question"])
def test_a_question_without_an_answer_is_not_answered(sample, row):
    answer = sample.ask(row["question"])
    assert answer.abstained
    assert answer.nearest
    assert answer.confidence < 0.5


def test_answers_pages_and_cells_follow_a_changed_and_renamed_library(tmp_path, minilm):
    import docx
    import openpyxl

    sys.path.insert(0, str(EXAMPLES))
    try:
        from make_library import TRAVEL, write_pdf
    finally:
        sys.path.remove(str(EXAMPLES))
    docs = tmp_path / "docs"
    shutil.copytree(EXAMPLES / "library" / "handbook", docs)
    with Library.open(tmp_path / "library") as library:
        library.add(docs)
        oslo = "Up to which rate does the company pay for a single room in Oslo?"
        plug = "What is the price of the charging plug LF-C80?"
        pension = "How much does the company pay into the pension fund?"
        assert library.ask(oslo).citations[0].page == 2
        ids = {row.paths[0].rpartition("/")[2]: row.id for row in library.documents()}

        book = openpyxl.load_workbook(docs / "price-list.xlsx")
        book["Parts"].insert_rows(4)
        book["Parts"]["D7"] = 1375.5
        book.save(docs / "price-list.xlsx")
        changed = [("Contents", ["This page was added."]), *TRAVEL]
        heading, paragraphs = changed[2]
        changed[2] = (heading, [text.replace("Oslo 190 euros", "Oslo 215 euros") for text in paragraphs])
        write_pdf(docs / "travel-policy.pdf", changed, "Lumen Ferry - travel policy 2026")
        document = docx.Document(str(docs / "benefits.docx"))
        for paragraph in document.paragraphs:
            if "8 % of the gross salary" in paragraph.text:
                paragraph.text = paragraph.text.replace("8 %", "9 %")
        document.save(str(docs / "benefits.docx"))

        before = library.ask(pension).citations[0]
        assert before.stale and "8 %" in before.quote
        totals = library.sync().totals()
        assert (totals["changed"], totals["read"]) == (3, 3)
        for name in ("price-list.xlsx", "travel-policy.pdf", "benefits.docx"):
            (docs / name).rename(docs / f"new-{name}")
        totals = library.sync().totals()
        assert (totals["moved"], totals["read"]) == (3, 0)

        for question, name, quoted in (
            (oslo, "travel-policy.pdf", "Oslo 215 euros"),
            (plug, "price-list.xlsx", "1,375.50"),
            (pension, "benefits.docx", "9 %"),
        ):
            citation = library.ask(question).citations[0]
            assert citation.path.endswith(f"new-{name}")
            assert citation.document_id == f"d{ids[name]}"
            assert quoted in citation.quote and not citation.stale
        assert library.ask(oslo).citations[0].page == 3
        assert ("Parts", "D7") in [(anchor.sheet, anchor.cell) for anchor in library.ask(plug).citations[0].anchors]
        assert library.check() == []
