"""Pictures: their text, by OCR, one anchor a line with its box in pixels."""

from __future__ import annotations

from openbook.library.documents.build import Builder, Line
from openbook.library.documents.model import Document
from openbook.library.documents.ocr import INSTALL, open_picture
from openbook.library.documents.source import Source


def read(source: Source) -> Document:
    """Raises UnreadableFile when no OCR is installed or wanted, for broken pictures and for those without text."""
    if source.ocr is None:
        raise source.unreadable("it is a picture, and no OCR reads it", INSTALL)
    image = open_picture(source.data)
    if image is None:
        raise source.unreadable("the picture is damaged or too large", "save it again as .png, at most 160 megapixels")
    builder = Builder("image")
    frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    for number in range(1, frames + 1):
        image.seek(number - 1)
        lines = [Line(line.text, number, line.box) for line in source.ocr.lines(image.copy())]
        if lines:
            builder.ocr_pages.append(number)
            builder.lines("figure", lines)
        else:
            builder.pages_without_text.append(number)
    builder.pages = frames
    if not builder.blocks:
        builder.missing("OCR found no text in the picture")
    return builder.document(source.stem)
