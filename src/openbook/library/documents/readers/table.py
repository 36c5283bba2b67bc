"""CSV and TSV: the dialect is found by trying, cells have the addresses that a spreadsheet would give them."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from openbook.core.errors import UnreadableFile
from openbook.library.documents.build import CELL_SEPARATOR, Builder, Cell, flat
from openbook.library.documents.cuts import Encoding
from openbook.library.documents.model import Document, Opening
from openbook.library.documents.portion import Portion
from openbook.library.documents.readers.plain import decoded_text
from openbook.library.documents.readers.xlsx import letters, looks_numeric
from openbook.library.documents.source import Source

_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_LINES = 50
_MAX_COLUMNS = 16_384
_FIELD_BYTES = 10_000_000
_LINE_BYTES = 64_000_000
_HEAD_BYTES = 200_000


def read(source: Source) -> Document:
    builder = Builder("csv")
    text = decoded_text(source, builder)
    portion = source.portion
    delimiter = portion.delimiter if portion is not None else delimiter_of(source.suffix, text)
    try:
        texts = list(_records(io.StringIO(text, newline=""), delimiter))
    except csv.Error as error:
        raise source.unreadable(f"it is no valid table ({error})", "check its quotes and line breaks") from None
    widest = max(map(len, texts), default=0)
    if widest > _MAX_COLUMNS:
        raise source.unreadable(f"a row has {widest:,} cells, the limit is {_MAX_COLUMNS:,}", "check its delimiter")
    names = [letters(column) for column in range(1, widest + 1)]
    before = portion.line if portion is not None else 0
    rows = [
        [Cell(text, f"{name}{r}") for name, text in zip(names, row, strict=False)]
        for r, row in enumerate(texts, before + 1)
    ]
    if portion is None:
        builder.table(rows, header_rows=int(has_header(texts)))
        builder.notes += _widths_note(Counter(len(row) for row in rows if row))
        return builder.document(source.stem)
    builder.table(rows, header_rows=int(portion.number == 0 and portion.has_header))
    builder.notes += portion.notes
    builder.opening = Opening(glue="\n" + _lead(texts))
    return builder.document(source.stem)


def _records(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_FIELD_BYTES)
    return csv.reader(lines, delimiter=delimiter)


def _lead(texts: list[list[str]]) -> str:
    """The white space with which the first row begins in the table: one space where its first cell is empty."""
    first = next((row for row in texts if any(cell.strip() for cell in row)), [])
    return " " if first and not first[0].strip() else ""


def _widths_note(widths: Counter[int]) -> list[str]:
    if len(widths) < 2:
        return []
    usual = widths.most_common(1)[0][0]
    return [f"{widths.total() - widths[usual]} rows do not have the usual {usual} cells"]


def table_portions(path: Path, file: IO[bytes], encoding: Encoding, part_bytes: int) -> list[Portion]:
    """The parts of a large table, cut between rows, never inside a quoted cell."""
    file.seek(encoding.skip)
    head = file.read(_HEAD_BYTES).decode(encoding.codec, "replace").replace("\r\n", "\n").replace("\r", "\n")
    delimiter = delimiter_of(path.suffix.lower(), head)
    first = list(itertools.islice(_records(io.StringIO(head, newline=""), delimiter), 2))
    header = CELL_SEPARATOR.join(flat(cell) for cell in first[0]) if has_header(first) else ""
    file.seek(encoding.skip)
    lines = _Lines(file, encoding)
    widths: Counter[int] = Counter()
    portions: list[Portion] = []
    portion = Portion(
        "csv",
        encoding.skip,
        0,
        codec=encoding.codec,
        encoding=encoding.shown,
        uncertain=encoding.uncertain,
        delimiter=delimiter,
        has_header=bool(header),
    )
    number = 0
    try:
        for number, row in enumerate(_records(lines, delimiter), 1):
            if row:
                widths[len(row)] += 1
            if lines.taken >= part_bytes and lines.at_line_end:
                portions.append(replace(portion, end=portion.start + lines.taken, digest=lines.digest()))
                portion = replace(
                    portion, start=portions[-1].end, number=len(portions), line=number, continues=True, header=header
                )
    except csv.Error as error:
        raise UnreadableFile(
            f"{path.name} cannot be read: it is no valid table (row {number + 1}: {error})",
            "check its quotes and line breaks",
        ) from None
    if lines.taken:
        portions.append(replace(portion, end=portion.start + lines.taken, digest=lines.digest()))
    portions[0] = replace(portions[0], notes=tuple(_widths_note(widths)))
    return portions


class _Lines:
    """The lines of a file, decoded one by one; `taken` counts the bytes since the last `digest`."""

    def __init__(self, file: IO[bytes], encoding: Encoding) -> None:
        self._encoding = encoding
        self._raw = _raw_lines(file, encoding)
        self._digest = hashlib.sha256()
        self._left: list[str] = []
        self.taken = 0

    @property
    def at_line_end(self) -> bool:
        return not self._left

    def digest(self) -> str:
        """The SHA-256 of the bytes since the last call."""
        found = self._digest.hexdigest()
        self._digest, self.taken = hashlib.sha256(), 0
        return found

    def __iter__(self) -> Iterator[str]:
        for raw in self._raw:
            self._digest.update(raw)
            self.taken += len(raw)
            text = raw.decode(self._encoding.codec, "replace").replace("\r\n", "\n").replace("\r", "\n")
            if text.find("\n") in (-1, len(text) - 1):
                yield text
                continue
            self._left = text.splitlines(keepends=True)[::-1] if text.isascii() else _split(text)[::-1]
            while self._left:
                yield self._left.pop()


def _split(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]] + [rest for rest in text.split("\n")[-1:] if rest]


def _raw_lines(file: IO[bytes], encoding: Encoding) -> Iterator[bytes]:
    """The bytes of each line with its end; a line end in UTF-16 is told from half of another character."""
    if encoding.width == 1 and encoding.newline == "\n":
        yield from iter(lambda: file.readline(_LINE_BYTES), b"")
        return
    mark, width = encoding.newline.encode(encoding.codec), encoding.width
    rest = b""
    while block := file.read(_HEAD_BYTES):
        data = rest + block
        begin = at = 0
        while (at := data.find(mark, at)) >= 0:
            if at % width == 0:
                yield data[begin : at + width]
                begin = at + width
            at += 1
        rest = data[begin:]
    if rest:
        yield rest


def delimiter_of(suffix: str, text: str) -> str:
    return "\t" if suffix in (".tsv", ".tab") else find_delimiter(text)


def find_delimiter(text: str) -> str:
    """The delimiter that gives the sample the most rows of one width, wider ones first; "," for a single column."""
    sample = "\n".join(text.split("\n", _SAMPLE_LINES)[:_SAMPLE_LINES])
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(
                len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row
            )
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = widths.most_common(1)[0]
        score = count / sum(widths.values()) + 0.01 * min(width, 20) if width > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def has_header(texts: list[list[str]]) -> bool:
    """The first row has words only, all different: names of columns."""
    named = [text for cell in texts[0] if (text := cell.strip())] if len(texts) > 1 else []
    return (
        bool(named)
        and len(set(named)) == len(named)
        and not any(looks_numeric(text) for text in named)
        and max(map(len, named)) <= 80
    )
