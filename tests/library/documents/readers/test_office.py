"""Word, Excel and PowerPoint files, made by the libraries that people make them with."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable

import docx
import openpyxl
import pptx
import pytest
from openpyxl.comments import Comment
from openpyxl.styles.numbers import BUILTIN_FORMATS
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from document_samples import blocks, cells, texts, word
from openbook.library.documents.model import Document
from openbook.library.documents.readers.docx_styles import chinese_numeral
from openbook.library.documents.readers.xlsx_format import BUILTIN, display

Read = Callable[[str, bytes], Document]


def saved(file: object) -> bytes:
    buffer = io.BytesIO()
    file.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def test_word_headings_lists_tables_and_title(read: Read) -> None:
    file = docx.Document()
    file.add_heading("Handbook", 0)
    file.add_heading("Leave", 2)
    file.add_paragraph("Staff have 25 days.")
    file.add_paragraph("first", style="List Bullet")
    file.add_paragraph("second", style="List Bullet")
    file.add_paragraph("one", style="List Number")
    table = file.add_table(rows=2, cols=2)
    for cell, text in zip([*table.rows[0].cells, *table.rows[1].cells], ["Grade", "Days", "B2", "30"], strict=True):
        cell.text = text
    document = read("a.docx", saved(file))
    assert texts(document) == [
        "Handbook", "Leave", "Staff have 25 days.", "- first\n- second\n1. one", "Grade | Days\nB2 | 30",
    ]  # fmt: skip
    assert [block.level for block in blocks(document, "heading")] == [1, 2]
    assert document.title == "Handbook"
    assert cells(document)["R2C2"] == "30"
    table_block = blocks(document, "table")[0]
    assert document.text[table_block.start : table_block.header_end] == "Grade | Days"


def test_word_tracked_changes_controls_links_and_boxes(read: Read) -> None:
    body = (
        f"<w:p>{run('Notice is ')}<w:del>{'<w:r><w:delText>two</w:delText></w:r>'}</w:del><w:ins>{run('three')}</w:ins>"
        f"<w:moveFrom>{run(' moved away')}</w:moveFrom>"
        f"{run(' months; ')}<w:hyperlink>{run('see here')}</w:hyperlink></w:p>"
        f"<w:sdt><w:sdtContent><w:p>{run('In a control')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p><w:r><w:pict><w:txbxContent><w:p>{run('In a box')}</w:p></w:txbxContent></w:pict></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc><w:p>{run('a')}</w:p></w:tc><w:tc><w:p>{run('b')}</w:p><w:tbl><w:tr><w:tc><w:p>{run('n1')}"
        f"</w:p></w:tc><w:tc><w:p>{run('n2')}</w:p></w:tc></w:tr></w:tbl></w:tc></w:tr></w:tbl>"
    )
    document = read("a.docx", word(body))
    assert texts(document) == ["Notice is three months; see here", "In a control", "In a box", "a | b", "n1 | n2"]
    assert any("deleted text" in note for note in document.receipt.notes)


def test_word_headers_are_read_once_and_named(read: Read) -> None:
    file = docx.Document()
    file.sections[0].header.paragraphs[0].text = "Confidential"
    file.add_paragraph("Body")
    document = read("a.docx", saved(file))
    assert texts(document) == ["Confidential", "Body"]
    assert document.anchors[0].part == "header"


def test_merged_word_cells_repeat_down(read: Read) -> None:
    file = docx.Document()
    table = file.add_table(rows=3, cols=2)
    for r, row in enumerate([("Region", "Sales"), ("North", "5"), ("", "7")]):
        for c, text in enumerate(row):
            table.cell(r, c).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    assert "North | 5\nNorth | 7" in read("a.docx", saved(file)).text


def test_excel_cells_are_shown_as_displayed_and_keep_their_value(read: Read) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Plan"
    for row in [
        ["Item", "Share", "Date", "Cost"],
        ["Tea", 0.15, datetime.date(2024, 3, 1), 1234.5],
        ["Cups", 0.2, None, 3],
    ]:
        sheet.append(row)
    sheet["B2"].number_format = sheet["B3"].number_format = "0%"
    sheet["C2"].number_format = 'yyyy"年"m"月"d"日"'
    sheet["D2"].number_format = '"$"#,##0.00'
    document = read("a.xlsx", saved(book))
    assert texts(document) == [
        "Plan", "Item | Share | Date | Cost\nTea | 15% | 2024年3月1日 | $1,234.50\nCups | 20% |  | 3",
    ]  # fmt: skip
    raw = {a.cell: a.raw for a in document.anchors if a.cell}
    assert (raw["B2"], raw["C2"], raw["D2"], raw["A2"]) == ("0.15", "2024-03-01", "1234.5", None)
    assert {a.sheet for a in document.anchors} == {"Plan"}
    table = blocks(document, "table")[0]
    assert document.text[table.start : table.header_end] == "Item | Share | Date | Cost"


def test_excel_captions_regions_merges_formulas_hidden_and_comments(read: Read) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in [
        ["Budget 2024"],
        ["Team", "Cost"],
        ["Red", 5],
        [None, 6],
        ["Sum", "=B3+B4"],
        [],
        ["City", "Office"],
        ["Oslo", 2],
    ]:
        sheet.append(row)
    sheet.merge_cells("A3:A4")
    sheet["B3"].comment = Comment("checked", "x")
    sheet.row_dimensions[4].hidden = True
    hidden = book.create_sheet("Secret")
    hidden["XFD9"] = "far away"
    hidden.sheet_state = "hidden"
    document = read("a.xlsx", saved(book))
    assert texts(document)[1:4] == [
        "Budget 2024",
        "Team | Cost\nRed | 5\nRed | 6\nSum | =B3+B4",
        "City | Office\nOslo | 2",
    ]
    assert "B3: checked" in document.text
    assert cells(document)["XFD9"] == "far away"
    assert any("Sheet!B5" in text for text in document.receipt.not_searchable)
    notes = " ".join(document.receipt.notes)
    assert "'Secret' is hidden" in notes and "1 hidden rows" in notes


@pytest.mark.parametrize(
    ("value", "code", "shown"),
    [
        (0.15, "0%", "15%"), (0.1234, "0.0%", "12.3%"), (1234567.891, "#,##0.00", "1,234,567.89"), (5, "General", "5"),
        (0.1 + 0.2, "General", "0.3"), (-5, "#,##0;(#,##0)", "(5)"), (-5, "0.0", "-5.0"), (0, "0;-0;-", "-"),
        (2.675, "0.00", "2.68"), (1234.5, '[$€-407] #,##0.00', "€ 1,234.50"), (1500000, '0.0,,"M"', "1.5M"),
        (7, "000", "007"), (12345, "0.00E+00", "1.23E+04"), (0.5, "#.##", ".5"), (45352, "yyyy-mm-dd", "2024-03-01"),
        (45352.75, "d mmm yyyy h:mm AM/PM", "1 Mar 2024 6:00 PM"), (1.5, "[h]:mm", "36:00"), (0.5, "hh:mm:ss", "12:00:00"),
        (45352, 'yyyy"年"m"月"d"日"', "2024年3月1日"), (3, '0"个"', "3个"), (1, "[Red]0.00_)", "1.00"),
    ],
)  # fmt: skip
def test_number_formats(value: float, code: str, shown: str) -> None:
    assert display(value, code) == shown


def test_builtin_formats_agree_with_openpyxl_except_for_regional_dates() -> None:
    shared = [number for number in BUILTIN_FORMATS if number in BUILTIN]
    when = 45352.5
    different = {n for n in shared if display(when, BUILTIN[n]) != display(when, BUILTIN_FORMATS[n])}
    assert different <= {14, 22, 44, 47}


def test_slides_have_titles_lists_tables_notes_groups_and_charts(read: Read) -> None:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Plan"
    slide.placeholders[1].text = "first\nsecond"
    slide.notes_slide.notes_text_frame.text = "say hello"
    other = show.slides.add_slide(show.slide_layouts[6])
    table = other.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for n, text in enumerate(["Item", "Price", "Tea", "5"]):
        table.cell(n // 2, n % 2).text = text
    group = other.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(4), Inches(2), Inches(1)).text_frame.text = "in a group"
    data = CategoryChartData()
    data.categories = ["2023", "2024"]
    data.add_series("Sales", (7, 9))
    other.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(5), Inches(4), Inches(2), data)
    show.slides.add_slide(show.slide_layouts[6])
    document = read("a.pptx", saved(show))
    assert [(b.page, t) for b, t in zip(document.blocks, texts(document), strict=True)] == [
        (1, "Plan"), (1, "- first\n- second"), (1, "say hello"), (2, "Item | Price\nTea | 5"), (2, "in a group"),
        (2, "| Sales\n2023 | 7\n2024 | 9"),
    ]  # fmt: skip
    assert document.receipt.pages == 3
    assert document.receipt.pages_without_text == (3,)
    assert next(a.part for a in document.anchors if a.part) == "notes"


def test_chinese_list_numbers() -> None:
    assert [chinese_numeral(n) for n in (1, 10, 11, 20, 101, 110, 1005)] == [
        "一", "十", "十一", "二十", "一百零一", "一百一十", "一千零五",
    ]  # fmt: skip
