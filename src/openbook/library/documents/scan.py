"""Looks through a large file once and says in which parts it is read, so that no process holds the whole of it.

Text, code, Markdown, CSV and JSON lines are cut at lines, PDF at pages. Zip containers (docx, xlsx, pptx, epub) are not
cut, their members are unpacked one by one. The other formats can only be read whole.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from openbook.core.errors import UnreadableFile
from openbook.library.documents.cuts import Cut, Encoding, cut, encoding_of
from openbook.library.documents.model import SEPARATOR, Document
from openbook.library.documents.pdf.read import page_ranges
from openbook.library.documents.portion import Portion
from openbook.library.documents.sniff import kind_of
from openbook.library.documents.source import MAX_WHOLE_BYTES, PART_BYTES, ZIP_MAGIC, Source

LONGEST_LINE_BYTES = 64_000_000
IN_PARTS = frozenset({"text", "code", "markdown", "csv", "jsonl", "pdf"})
_BLOCK = 1 << 20
_HEAD_BYTES = 200_000
_HIGH = re.compile(rb"[\x80-\xff]")


class Scanned(NamedTuple):
    """`portions` is empty for a file that is read whole."""

    sha256: str
    portions: list[Portion]


def scan(path: Path, part_bytes: int = PART_BYTES) -> Scanned:
    """The parts of a large file, and the SHA-256 of the bytes that they are parts of.

    Raises `UnreadableFile` for a file that has to be read whole and is larger than 100 MB.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        kind = _kind(path, head)
        is_zip = head.startswith(ZIP_MAGIC)
        sha256, is_utf8, sample = _looked_through(file, head)
        portions: list[Portion] = []
        if kind == "pdf":
            portions = page_ranges(path)
        elif kind in IN_PARTS and (encoding := encoding_of(sample, is_utf8)) is not None:
            cut_by = _rows if kind == "csv" else _lines
            portions = list(cut_by(path, file, kind, encoding, part_bytes))
        size = os.fstat(file.fileno()).st_size
    if len(portions) > 1:
        return Scanned(sha256, _with_headings(path, portions) if kind in ("markdown", "pdf") else portions)
    if size > MAX_WHOLE_BYTES and kind != "pdf" and not is_zip:
        remedy = "split it, or save it as JSON lines (.jsonl)" if kind == "json" else "split it"
        raise UnreadableFile(
            f"{path} has {size:,} bytes; {path.suffix or 'such'} files are read whole, up to {MAX_WHOLE_BYTES:,}",
            remedy,
        )
    return Scanned(sha256, portions if kind == "pdf" else [])


def _kind(path: Path, head: bytes) -> str:
    """The reader's name, "" for containers, whose kind is only known from all of their bytes."""
    return "" if head.startswith((ZIP_MAGIC, b"\xd0\xcf\x11\xe0")) else kind_of(Source(path.name, head))


def _looked_through(file: IO[bytes], head: bytes) -> tuple[str, bool, bytes]:
    """(SHA-256, whether all is UTF-8 text, a sample by which to tell the encoding) of a file."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, high, position = True, -1, 0
    file.seek(0)
    while block := file.read(_BLOCK):
        digest.update(block)
        if is_utf8:
            try:
                decoder.decode(block)
                is_utf8 = b"\x00" not in block
            except UnicodeDecodeError:
                is_utf8 = False
        if high < 0 and (match := _HIGH.search(block)) is not None:
            high = position + match.start()
        position += len(block)
    if is_utf8 and decoder.getstate()[0]:
        is_utf8 = False
    if high < len(head) // 2:
        return digest.hexdigest(), is_utf8, head
    file.seek(max(high - 4_096, 0))
    before = file.read(min(high, 4_096))
    line = before.rfind(b"\n") + 1
    return digest.hexdigest(), is_utf8, before[line:] + file.read(_HEAD_BYTES)


def _lines(path: Path, file: IO[bytes], kind: str, encoding: Encoding, part_bytes: int) -> Iterator[Portion]:
    size = file.seek(0, os.SEEK_END)
    portion = Portion(
        kind, encoding.skip, 0, codec=encoding.codec, encoding=encoding.shown, uncertain=encoding.uncertain
    )
    while portion.start < size:
        data, place = _part(path, file, portion, size, encoding, part_bytes)
        done = replace(
            portion,
            end=portion.start + len(data),
            digest=hashlib.sha256(data).hexdigest(),
            ends_inside=place is not None and place.how not in ("blank", "heading"),
        )
        yield done
        if place is None:
            return
        lines = data.decode(encoding.codec, "replace").replace("\r\n", "\n").replace("\r", "\n").count("\n")
        portion = _after(done, place, portion.line + lines)


def _part(
    path: Path, file: IO[bytes], portion: Portion, size: int, encoding: Encoding, part_bytes: int
) -> tuple[bytes, Cut | None]:
    """The bytes of a part, and where it was cut; None at the end of the file."""
    window = max(part_bytes // 4, 64)
    while True:
        file.seek(portion.start)
        data = file.read(part_bytes + window)
        if portion.start + len(data) >= size:
            return data, None
        place = cut(data, part_bytes, encoding, portion.kind, portion.fence)
        if place is not None:
            return data[: place.at], place
        if len(data) > LONGEST_LINE_BYTES:
            raise UnreadableFile(
                f"{path}: line {portion.line + data.count(10) + 1} has more than {LONGEST_LINE_BYTES:,} bytes",
                "write one value a line",
            )
        window *= 4


def _after(done: Portion, place: Cut, line: int) -> Portion:
    """The part that begins where `done` was cut."""
    in_line = place.how in ("space", "anywhere")
    continues = in_line or place.how == "fence" or (place.how == "line" and done.kind == "code")
    glue = SEPARATOR
    if in_line:
        glue = " " if place.how == "space" else ""
    elif continues or (place.how == "line" and done.kind == "markdown"):
        glue = "\n"
    return replace(
        done,
        start=done.end,
        end=0,
        digest="",
        number=done.number + 1,
        glue=glue,
        continues=continues,
        begins_inside=done.ends_inside,
        ends_inside=False,
        line=line,
        fence=place.fence,
    )


def _rows(path: Path, file: IO[bytes], kind: str, encoding: Encoding, part_bytes: int) -> Iterator[Portion]:
    from openbook.library.documents.readers.table import table_portions

    assert kind == "csv"
    return iter(table_portions(path, file, encoding, part_bytes))


def _with_headings(path: Path, portions: list[Portion]) -> list[Portion]:
    """The parts with the title of the whole, and the headings that are in force where each begins."""
    from openbook.library.documents.read import read_portion

    trail: tuple[tuple[int, str], ...] = ()
    title = ""
    found: list[Portion] = []
    for portion in portions:
        found.append(replace(portion, headings=trail))
        document = read_portion(path, portion, ocr=False)
        if not title and (document.metadata.get("title") or any(block.kind == "heading" for block in document.blocks)):
            title = document.title
        trail = _trail(document, trail)
    return [replace(portion, title=title or path.stem) for portion in found]


def _trail(document: Document, trail: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    for block in document.blocks:
        if block.kind == "heading":
            text = " ".join(document.text[block.start : block.end].split())
            trail = (*(one for one in trail if one[0] < block.level), (block.level, text))
    return trail
