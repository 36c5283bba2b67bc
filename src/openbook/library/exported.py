"""Reads the files that `openbook export` wrote, document by document and part by part, and looks whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from openbook.core.errors import UsageError
from openbook.library.lexical.tokenize import TOKENIZER_VERSION
from openbook.library.vectors_file import VectorsFile

FORMAT = 2
_ROWS = 1_024

Line = dict[str, Any]


class ExportedPart(NamedTuple):
    """`line` has "text", "blocks", "anchors", "glue" and "opening"; `start` is where the text begins in the whole.
    `chunks`: those that begin in it, with their vectors.
    """

    line: Line
    start: int
    chunks: list[tuple[Line, bytes | None]]


def read_about(directory: Path) -> Line:
    """What `library.json` says. Raises `UsageError` for another directory or version."""
    try:
        about: Line = json.loads((directory / "library.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(
            f"{directory} is no exported library ({error})", "name a directory made by `openbook export`"
        ) from None
    if about.get("format") != FORMAT or about.get("tokenizer_version") != TOKENIZER_VERSION:
        raise UsageError(f"{directory} was exported by another version", "export it again with this version")
    return about


class Exported:
    """The documents of an export in order. Errors of what is read are `ValueError`, `KeyError`, `TypeError`, `IndexError`.

    Take all parts of a document before the next one.
    """

    def __init__(self, directory: Path, dimension: int | None) -> None:
        self._documents = (directory / "documents.jsonl").open("rb")
        self._chunk_lines = (directory / "chunks.jsonl").open("rb")
        self._vectors = VectorsFile(directory / "vectors.safetensors") if dimension is not None else None
        if self._vectors is not None and self._vectors.dimension != dimension:
            raise ValueError(f"vectors.safetensors has the dimension {self._vectors.dimension}, not {dimension}")
        self._rows: Iterator[bytes] = iter(())
        self._read = 0
        self._waiting = self._next_chunk()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._documents.close()
        self._chunk_lines.close()
        if self._vectors is not None:
            self._vectors.close()

    def documents(self) -> Iterator[Line]:
        """The first line of each document; `parts` gives the text."""
        while data := self._documents.readline():
            yield json.loads(data)

    def parts(self, first: Line) -> Iterator[ExportedPart]:
        end = 0
        for number in range(first["parts"]):
            line = first if number == 0 else json.loads(self._documents.readline() or b"null")
            if number and (line["document"], line["part"]) != (first["id"], number):
                raise ValueError(f"part {number} of document {first['id']} is missing")
            start = end + len(line["glue"])
            end = start + len(line["text"])
            yield ExportedPart(line, start, list(self._chunks_before(first["id"], end)))

    def is_at_end(self) -> bool:
        """Whether every chunk and every vector belonged to a document."""
        return self._waiting is None and (self._vectors is None or self._vectors.count == self._read)

    def _chunks_before(self, document_id: int, end: int) -> Iterator[tuple[Line, bytes | None]]:
        while self._waiting is not None and self._waiting[0]["document"] == document_id:
            if self._waiting[0]["start"] >= end:
                return
            yield self._waiting
            self._waiting = self._next_chunk()

    def _next_chunk(self) -> tuple[Line, bytes | None] | None:
        data = self._chunk_lines.readline()
        if not data:
            return None
        vector = None
        if self._vectors is not None:
            vector = next(self._rows, None)
            if vector is None:
                last = min(self._read + _ROWS, max(self._vectors.count, self._read + 1))
                rows = self._vectors.rows(self._read, last)
                if not np.isfinite(rows).all():
                    raise ValueError("vectors.safetensors holds numbers that are not finite")
                self._rows = iter([row.tobytes() for row in rows])
                vector = next(self._rows)
                self._read = last
        return json.loads(data), vector


def verify(directory: Path, about: Line) -> int:
    """How many documents there are, after a look at each: ids, roots, spans of blocks, anchors and chunks.

    Raises `ValueError` (or what a wrong shape raises) when the files are not whole.
    """
    roots = {root["id"] for root in about["roots"]}
    count, last = 0, 0
    contents: set[tuple[str, str, str]] = set()
    with Exported(directory, about["dimension"]) as exported:
        for plain in exported.documents():
            if plain["id"] <= last or not plain["paths"] or not {path["root"] for path in plain["paths"]} <= roots:
                raise ValueError(f"document {plain['id']}: its id, paths or roots cannot be")
            content = (plain["collection"], plain["sha256"], plain["suffix"])
            if content in contents:
                raise ValueError(f"document {plain['id']}: another one has the same content")
            contents.add(content)
            if not isinstance(plain["version"], int):
                raise ValueError(f"document {plain['id']}: its version is {plain['version']!r}")
            for part in exported.parts(plain):
                if not all(0 <= start <= end <= len(part.line["text"]) for start, end in _spans(part)):
                    raise ValueError(f"document {plain['id']}: a span lies outside the text")
            count, last = count + 1, plain["id"]
        if count != about["documents"] or not exported.is_at_end():
            raise ValueError(f"there are {count} documents, library.json says {about['documents']}")
    return count


def _spans(part: ExportedPart) -> Iterator[tuple[int, int]]:
    yield from ((block[1], block[2]) for block in part.line["blocks"])
    yield from ((anchor[0], anchor[1]) for anchor in part.line["anchors"])
    yield from ((chunk["start"] - part.start, chunk["end"] - part.start) for chunk, _ in part.chunks)
