"""The documents of a file of plain text, in pieces of whole lines, so that no file is too long to read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from openbook.core.errors import BadData
from openbook.training.data.records import opened
from openbook.training.data.row import Text

Documents = Literal["file", "blank-line", "line"]
_PIECE_CHARACTERS = 65_536


def documents(path: Path, between: Documents = "file") -> Iterator[Text]:
    """`between`: a document is a file, what stands between empty lines, or a line. BadData for what is no UTF-8."""
    try:
        with opened(path) as stream:
            lines = io.TextIOWrapper(stream, "utf-8-sig", newline="")
            match between:
                case "file":
                    yield from _whole(lines)
                case "blank-line":
                    yield from _paragraphs(lines)
                case "line":
                    yield from (Text(line.rstrip("\r\n")) for line in lines if line.strip())
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is no UTF-8: {error}", "convert it, e.g. with iconv -t utf-8") from None


def _whole(lines: io.TextIOWrapper) -> Iterator[Text]:
    last, begins = "", True
    while block := lines.readlines(_PIECE_CHARACTERS):
        if last:
            yield Text(last, begins, ends=False)
            begins = False
        last = "".join(block)
    if last:
        yield Text(last, begins)


def _paragraphs(lines: io.TextIOWrapper) -> Iterator[Text]:
    own: list[str] = []
    for line in lines:
        if line.strip():
            own.append(line)
        elif own:
            yield Text("".join(own).rstrip("\r\n"))
            own = []
    if own:
        yield Text("".join(own).rstrip("\r\n"))
