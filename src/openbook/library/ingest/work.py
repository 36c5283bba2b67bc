"""What a worker process does with one file or record: read it, split it, count its terms. Nothing here knows torch.

Arguments and results are plain (dicts, lists, strings, bytes), because they cross a pipe.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from openbook.core.errors import UnreadableFile
from openbook.core.messages import TokenCounter
from openbook.library.catalogue.rows import FoundFile, IndexedChunk, ReadDocument
from openbook.library.documents.model import Block, Document, Receipt
from openbook.library.documents.read import read_document
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.tokenize import sequence
from openbook.library.split.chunk import Chunk
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens
from openbook.lm.tokenizers.fast import CheckpointTokens

Plain = dict[str, Any]

_counters: dict[str, TokenCounter] = {}


def work(task: Plain) -> Plain:
    """The document of `task["path"]`, or of the record `task["record"]`; with its chunks unless `task["split"]` is None.

    Raises `UnreadableFile` as `read_document` does, and when the file is no longer the one that was planned.
    """
    began = time.perf_counter()
    if task.get("record") is not None:
        if hashlib.sha256(task["record"].encode("utf-8")).hexdigest() != task["sha256"]:
            raise UnreadableFile(f"{task['path']} was edited or taken out since it was planned", "add its file again")
        document = record_document(task["record"])
    else:
        document = read_document(Path(task["path"]), max_file_bytes=task["max_file_bytes"])
        if _sha256(Path(task["path"])) != task["sha256"]:
            raise UnreadableFile(f"{task['path']} changed while it was read", "add it again when it is written")
    document = without_surrogates(document)
    chunks = None
    if task["split"] is not None:
        settings = SplitSettings.model_validate(task["split"])
        chunks = [chunk_plain(chunk, document) for chunk in split(document, settings, counter_of(task["tokenizer"]))]
    return {
        "document": document.to_plain(),
        "language": detect_language(document.text),
        "chunks": chunks,
        "seconds": time.perf_counter() - began,
    }


def chunk_plain(chunk: Chunk, document: Document) -> list[Any]:
    """A chunk with its term counts and the tokens of the phrase index."""
    slice_text = document.text[chunk.start : chunk.end]
    return [*chunk, count_terms(chunk.index_text).to_blob(), " ".join(sequence(slice_text))]


def read_result(file: FoundFile, result: Plain, vectors: list[bytes] | None) -> ReadDocument:
    """What the catalogue stores, from what a worker sent and the vectors of its chunks."""
    chunks = tuple(
        IndexedChunk(_chunk(row[:-2]), row[-2], row[-1], vectors[number] if vectors is not None else None)
        for number, row in enumerate(result["chunks"])
    )
    return ReadDocument(file, Document.from_plain(result["document"]), result["language"], chunks, result["seconds"])


def _chunk(row: list[Any]) -> Chunk:
    chunk = Chunk(*row)
    return chunk._replace(heading=tuple(chunk.heading))


def record_document(line: str) -> Document:
    """The document of one line of a records file: {"id", "title", "text", ...}; other scalar keys become metadata."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UnreadableFile(f"a record is not JSON: {error}", 'write each line as {"id": ..., "text": ...}') from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "id" not in row:
        raise UnreadableFile(
            'a record lacks "id" or "text"', 'write each line as {"id": ..., "title": ..., "text": ...}'
        )
    text = row["text"]
    return Document(
        text=text,
        blocks=paragraph_blocks(text),
        title=str(row.get("title") or ""),
        kind="record",
        receipt=Receipt(characters=len(text)),
        metadata={
            key: str(value)
            for key, value in row.items()
            if key not in ("text", "title") and not isinstance(value, (list, dict))
        },
    )


def paragraph_blocks(text: str) -> tuple[Block, ...]:
    """A block for every run of lines between blank ones."""
    blocks: list[Block] = []
    position = 0
    for part in text.split("\n\n"):
        start = position + len(part) - len(part.lstrip())
        end = position + len(part.rstrip())
        if start < end:
            blocks.append(Block("paragraph", start, end))
        position += len(part) + 2
    return tuple(blocks)


def without_surrogates(document: Document) -> Document:
    """The document with lone surrogates, which no encoding can store, and NUL, at which SQLite ends a text, replaced one
    for one by U+FFFD.
    """
    metadata = {_storable(key): _storable(value) for key, value in document.metadata.items()}
    return replace(document, text=_storable(document.text), title=_storable(document.title), metadata=metadata)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def counter_of(tokenizer: str | None) -> TokenCounter:
    """The token counter of a tokenizer's directory; the approximate one for None."""
    key = tokenizer or ""
    if key not in _counters:
        _counters[key] = CheckpointTokens(Path(tokenizer)) if tokenizer else ApproximateTokens()
    return _counters[key]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
