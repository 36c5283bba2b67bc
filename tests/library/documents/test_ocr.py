"""Text in pictures: rows in reading order; with the extra installed, scanned pages and embedded pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.library.documents import ocr
from openbook.library.documents.ocr import OcrLine, find_ocr, in_reading_order
from openbook.library.documents.read import read_document

PICTURE_WORDS = {
    "docx_complex_layout.docx": "NOTICE: SSL Certificate Expires 2025-12-31",
    "docx_image_end.docx": "FOOTER: Document ID: DOC-2024-001",
    "pdf_image_end.pdf": "END: Contact: support@example.com",
    "pdf_image_start.pdf": "START: This is the first image in PDF",
    "xlsx_image_end.xlsx": "Approved by: John Doe, CFO Reviewed by: Jane Smith, CTO",
    "pdf_multiple_images.pdf": "Image 1: Serial Number SN-001 Image 2: Model Number M-2024",
    "pptx_image_middle.pptx": "Diagram: System Components",
    "xlsx_image_start.xlsx": "Q1 Sales Chart Q2 Forecast: +20% Growth",
    "docx_multipage.docx": "DOCX PAGE 1: Section Title DOCX PAGE 2: Footer Note DOCX PAGE 3: Header Image",
    "pdf_scanned_invoice.pdf": "INVOICE Company: TechCorp Industries Invoice Number: INV-2024-001 Date: January 15, 2024 "
    "BILL TO: Acme Corporation 123 Main Street New York, NY 10001 DESCRIPTION: Software Development Services "
    "Professional Consulting Technical Support TOTAL AMOUNT DUE: $5,000.00",
}
"""The words that a person reads in the pictures of each file."""


def test_rows_from_the_top_each_from_the_left() -> None:
    lines = [OcrLine("d", (60, 31, 90, 41), 1), OcrLine("a", (0, 2, 9, 12), 1), OcrLine("c", (0, 30, 50, 40), 1)]
    lines.append(OcrLine("b", (30, 0, 39, 10), 1))
    assert [line.text for line in in_reading_order(lines)] == ["a", "b", "c", "d"]


def test_insisting_on_ocr_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "is_installed", lambda: False)
    assert find_ocr(None) is None
    assert find_ocr(False) is None
    with pytest.raises(ModelUnavailable, match="rapidocr"):
        find_ocr(True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # onnxruntime and OpenCV warn about themselves
def test_nine_of_ten_words_in_real_pictures_are_read(data: Path) -> None:
    if not ocr.is_installed():
        pytest.skip("needs the extra `ocr`")
    found = wanted = 0
    for name, expected in PICTURE_WORDS.items():
        read = set(re.findall(r"[\w$+%.-]+", read_document(data / "markitdown_ocr_docs" / name).text.lower()))
        words = re.findall(r"[\w$+%.-]+", expected.lower())
        wanted += len(words)
        found += sum(word in read for word in words)
    assert wanted > 50
    assert found >= 0.9 * wanted, f"{found} of {wanted} words"
