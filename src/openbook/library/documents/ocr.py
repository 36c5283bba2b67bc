"""Text in pictures: the protocol, and rapidocr (extra `ocr`), whose models lie inside its wheel."""

from __future__ import annotations

import functools
import importlib.util
import io
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from openbook.core.errors import ModelUnavailable
from openbook.library.documents.model import Box

if TYPE_CHECKING:
    from PIL.Image import Image

INSTALL = "install the extra `ocr`: pip install rapidocr onnxruntime"
SWITCH_ON = "OCR is switched off: allow it"
MIN_PIXELS = 16
MARGIN = 24
MAX_PIXELS = 40_000_000


class OcrLine(NamedTuple):
    """A line of text, its box in pixels from the picture's top left corner, and the recogniser's confidence."""

    text: str
    box: Box
    confidence: float


class Ocr(Protocol):
    def lines(self, image: Image) -> list[OcrLine]:
        """The lines of text in reading order."""
        ...


def find_ocr(wanted: bool | None) -> Ocr | None:
    """The recogniser, None where it is not installed or not wanted. Raises ModelUnavailable when it is a must."""
    if wanted is False:
        return None
    if not is_installed():
        if wanted:
            raise ModelUnavailable("no OCR is installed", INSTALL)
        return None
    return RapidOcr()


def cure() -> str:
    """What makes pictures readable: installing the extra, or allowing it."""
    return SWITCH_ON if is_installed() else INSTALL


@functools.cache
def is_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


class RapidOcr:
    """PP-OCR detection and recognition (Chinese and English); the engine starts with the first picture (about 1 s)."""

    def lines(self, image: Image) -> list[OcrLine]:
        if min(image.size) < MIN_PIXELS:
            return []
        import numpy as np
        from PIL import ImageOps

        if image.width * image.height > MAX_PIXELS:
            image.thumbnail((6000, 6000))
        # Letters that touch the edge of a cropped picture are lost without a margin.
        framed = ImageOps.expand(image.convert("RGB"), MARGIN, fill=_edge_colour(image))
        pixels = np.asarray(framed)[:, :, ::-1]  # (height, width, 3), BGR as OpenCV has it
        result = _engine()(np.ascontiguousarray(pixels))
        if result is None or result.boxes is None or result.txts is None:
            return []
        found = [
            OcrLine(text.strip(), _rectangle(corners), float(score))
            for text, corners, score in zip(result.txts, result.boxes, result.scores, strict=True)
            if text.strip()
        ]
        return in_reading_order(found)


def in_reading_order(lines: list[OcrLine]) -> list[OcrLine]:
    """Rows from the top, each from the left: lines whose vertical middles are nearer than half a line are one row."""
    rows: list[list[OcrLine]] = []
    for line in sorted(lines, key=lambda each: (each.box[1] + each.box[3]) / 2):
        middle, height = (line.box[1] + line.box[3]) / 2, line.box[3] - line.box[1]
        if rows:
            last = rows[-1][0].box
            if middle - (last[1] + last[3]) / 2 < 0.5 * min(height, last[3] - last[1]):
                rows[-1].append(line)
                continue
        rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda each: each.box[0])]


def open_picture(data: bytes) -> Image | None:
    """The decoded picture, or None for vector formats and broken data."""
    from PIL import Image as pictures

    try:
        image = pictures.open(io.BytesIO(data))
        if image.width * image.height > 4 * MAX_PIXELS:
            return None
        image.load()
    except (OSError, ValueError, SyntaxError, pictures.DecompressionBombError):
        return None
    return image


def picture_text(ocr: Ocr, data: bytes) -> str:
    """All text of a picture file, a line break between rows; "" when there is none."""
    image = open_picture(data)
    if image is None:
        return ""
    rows: list[list[OcrLine]] = []
    for line in ocr.lines(image):
        if rows and line.box[0] >= rows[-1][-1].box[2] - 2 and line.box[1] < rows[-1][-1].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return "\n".join(" ".join(line.text for line in row) for row in rows)


def _edge_colour(image: Image) -> tuple[int, int, int]:
    """The colour of the top left corner, which is the background nearly always."""
    pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    red, green, blue = pixel
    return int(red), int(green), int(blue)


def _rectangle(corners: Any) -> Box:
    xs, ys = [float(x) - MARGIN for x, _ in corners], [float(y) - MARGIN for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


@functools.cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"})
