"""The records of a file, one at a time: JSON lines, a JSON array or object, tables; plain or gzipped. Faults are named by place.

In reading order: what is given; how a file lies on the disk; a reader for each.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from openbook.core.errors import BadData

Lying = Literal["plain", "lines", "array", "object", "table"]
_BLOCK = 1 << 20
_SNIFFED = 1 << 16
_MAX_BYTES = 1 << 30
"""Of a JSON file that is one object, or of one element of an array."""
_TABLES = {".csv": ",", ".tsv": "\t"}
_MAX_CELL = 1 << 24
_BETWEEN = re.compile(r"[ \t\r\n,]*")


class Record(NamedTuple):
    """`place`: "file:line", and "#2" for the second record of a line. `reason`: why there is no value, or empty."""

    place: str
    value: Any
    reason: str = ""


def suffix_of(path: Path) -> str:
    """Of rows.jsonl.gz it is .jsonl."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def lying_of(path: Path) -> Lying:
    """How the file lies on the disk, by its name and its first signs. BadData for one that cannot be read."""
    suffix = suffix_of(path)
    if suffix in (".jsonl", ".ndjson"):
        return "lines"
    if suffix in _TABLES:
        return "table"
    if suffix != ".json":
        return "plain"
    with opened(path) as stream:
        start = stream.read(_SNIFFED).removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"["):
        return "array"
    first, _, rest = start.partition(b"\n")
    return "lines" if rest.lstrip().startswith(b"{") and _is_whole(first) else "object"


def records(path: Path) -> Iterator[Record]:
    """Raises BadData where the rest of a file cannot be read; what is broken in one record is told and passed by."""
    lying = lying_of(path)
    with opened(path) as stream:
        try:
            match lying:
                case "lines":
                    yield from _lines(stream, path)
                case "array":
                    yield from _array(stream, path)
                case "table":
                    yield from _table(stream, path)
                case "object":
                    yield Record(f"{path}:1", json.loads(stream.read(_MAX_BYTES).decode("utf-8-sig")))
                case "plain":
                    raise ValueError("it holds no rows, but text")
        except (ValueError, RecursionError, csv.Error) as error:
            raise BadData(f"{path} cannot be read: {error}", "mend it, or write it as JSON lines") from None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, gunzipped where its name says so. BadData where it cannot be opened or ends too soon."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast(IO[bytes], stream)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path} cannot be read: {error}", "name a file that is whole and may be read") from None


def _lines(stream: IO[bytes], path: Path) -> Iterator[Record]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            yield Record(place, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")))
        except (ValueError, RecursionError) as error:
            yield Record(place, None, f"no JSON: {error}")


def _array(stream: IO[bytes], path: Path) -> Iterator[Record]:
    """The elements of an array, of which few are in memory at a time."""
    decoder = json.JSONDecoder()
    text, pending = "", b""
    while "[" not in text and (block := stream.read(_BLOCK)):
        more, pending = _decoded(pending + block, is_last=False)
        text += more
    at = text.index("[") + 1
    line = 1 + text.count("\n", 0, at)
    last, number = 0, 0
    is_over = False
    while True:
        begin = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", at, begin)
        at = begin
        if text.startswith("]", at):
            return
        try:
            value, end = decoder.raw_decode(text, at)
            if end == len(text) and not is_over:
                raise ValueError("a number may go on")
        except ValueError as error:
            if is_over:
                raise ValueError(f"line {line}: {error}") from None
            if len(text) - at > _MAX_BYTES:
                raise ValueError(f"line {line}: an element is longer than {_MAX_BYTES:,} signs") from None
            block = stream.read(max(_BLOCK, len(text) - at))
            is_over = not block
            more, pending = _decoded(pending + block, is_last=is_over)
            text, at = text[at:] + more, 0
            continue
        number = number + 1 if line == last else 1
        yield Record(f"{path}:{line}" + (f"#{number}" if number > 1 else ""), value)
        last = line
        line += text.count("\n", at, end)
        at = end


def _decoded(block: bytes, *, is_last: bool) -> tuple[str, bytes]:
    """The characters of a block, and the bytes of one that it ends in."""
    try:
        return block.decode(), b""
    except UnicodeDecodeError as error:
        if is_last or len(block) - error.start > 3:
            raise
        return block[: error.start].decode(), block[error.start :]


def _table(stream: IO[bytes], path: Path) -> Iterator[Record]:
    known = csv.field_size_limit(_MAX_CELL)
    try:
        lines = (line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(stream))
        table = csv.DictReader(lines, delimiter=_TABLES[suffix_of(path)])
        for row in table:
            place = f"{path}:{table.line_num}"
            if None in row or None in row.values():
                yield Record(place, None, f"it has not {len(table.fieldnames or ())} cells")
            else:
                yield Record(place, row)
    finally:
        csv.field_size_limit(known)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
