"""Pictures: their text, by OCR, in the layout of a PDF page; an anchor a line, its box in pixels."""

from __future__ import annotations

from openbook.library.documents.build import Builder
from openbook.library.documents.model import Document
from openbook.library.documents.ocr import OcrLine, cure, open_picture
from openbook.library.documents.pdf.aligned import AlignedTable, split_aligned
from openbook.library.documents.pdf.layout import paragraphs, reading_order
from openbook.library.documents.pdf.lines import TextLine
from openbook.library.documents.source import Source


def read(source: Source) -> Document:
    """Raises UnreadableFile when no OCR is installed or wanted, for broken pictures and for those without text."""
    if source.ocr is None:
        raise source.unreadable("it is a picture, and no OCR reads it", cure())
    image = open_picture(source.data)
    if image is None:
        raise source.unreadable("the picture is damaged or too large", "save it again as .png, at most 160 megapixels")
    builder = Builder("image")
    frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    for number in range(1, frames + 1):
        image.seek(number - 1)
        lines = _lines(source.ocr.lines(image.copy()))
        if lines:
            builder.ocr_pages.append(number)
            _add(builder, lines, number)
        else:
            builder.pages_without_text.append(number)
    builder.pages = frames
    if not builder.blocks:
        builder.missing("OCR found no text in the picture")
    return builder.document(source.stem)


def _lines(found: list[OcrLine]) -> list[TextLine]:
    """One size for all lines (the median height): the heights of detected boxes say nothing about headings."""
    heights = sorted(line.box[3] - line.box[1] for line in found)
    size = heights[len(heights) // 2] if heights else 0.0
    boxes = ([round(value, 1) for value in line.box] for line in found)
    return [
        TextLine(line.text, (left, top, right, bottom), size, False)
        for line, (left, top, right, bottom) in zip(found, boxes, strict=True)
    ]


def _add(builder: Builder, lines: list[TextLine], page: int) -> None:
    for run in split_aligned(reading_order(lines)):
        if isinstance(run, AlignedTable):
            builder.table(run.rows, page=page)
            continue
        for piece in paragraphs(run, page, lines[0].size, ()):
            builder.lines("figure", piece.lines)
