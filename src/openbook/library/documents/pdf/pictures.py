"""Text in the pictures of a PDF page: the whole page when it has no text, else each picture that is large enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from openbook.library.documents.model import Box
from openbook.library.documents.ocr import Ocr
from openbook.library.documents.pdf.lines import TextLine, _Frame

if TYPE_CHECKING:
    from PIL.Image import Image

_DPI_SCALE = 200 / 72
_MAX_SIDE_PIXELS = 4000
_MIN_WIDTH, _MIN_HEIGHT = 40.0, 10.0  # points: below this a picture is an icon or a rule


def has_pictures(page: Any) -> bool:
    """Whether a picture large enough to hold text is on the page."""
    return any(True for _ in _picture_boxes(page))


def page_by_ocr(page: Any, ocr: Ocr) -> list[TextLine]:
    """The lines of the rendered page, boxes in points."""
    return _recognised(page, ocr, None)


def pictures_by_ocr(page: Any, ocr: Ocr, lines: Sequence[TextLine]) -> list[TextLine]:
    """The lines inside the page's pictures; a picture behind real text (a scan with a text layer) is left alone."""
    found: list[TextLine] = []
    for box in _picture_boxes(page):
        if not any(_overlaps(box, line.box) for line in lines):
            found += _recognised(page, ocr, box)
    return found


def _picture_boxes(page: Any) -> Iterator[Box]:
    import pypdfium2.raw as pdfium

    frame = _Frame(page)
    for item in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        box = frame(item.get_bounds())
        if box[2] - box[0] >= _MIN_WIDTH and box[3] - box[1] >= _MIN_HEIGHT:
            yield box


def _recognised(page: Any, ocr: Ocr, region: Box | None) -> list[TextLine]:
    scale = min(_DPI_SCALE, _MAX_SIDE_PIXELS / max(page.get_width(), page.get_height(), 1))
    image: Image = page.render(scale=scale).to_pil()
    left = top = 0.0
    if region is not None:
        left, top = max(0.0, region[0]), max(0.0, region[1])
        image = image.crop(
            (int(left * scale), int(top * scale), int(region[2] * scale) + 1, int(region[3] * scale) + 1)
        )
        left, top = int(left * scale) / scale, int(top * scale) / scale
    found: list[TextLine] = []
    for line in ocr.lines(image):
        x0, y0, x1, y1 = (value / scale for value in line.box)
        box = (round(x0 + left, 1), round(y0 + top, 1), round(x1 + left, 1), round(y1 + top, 1))
        # Detection boxes differ by a point or two between lines of one size: rounded, so that they are no headings.
        found.append(TextLine(line.text, box, 12.0, False))
    return found


def _overlaps(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
