"""What a worker process does with one file or record: read it, split it, count its terms. Nothing here knows torch.

Arguments and results are plain (dicts, lists, strings, bytes), because they cross a pipe.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from openbook.core.errors import UnreadableFile
from openbook.core.messages import TokenCounter
from openbook.library.catalogue.packing import pack_anchors, pack_blocks, text_crc, unpack_blocks
from openbook.library.catalogue.rows import IndexedChunk
from openbook.library.documents.model import Block, Document, Receipt, opening_from_plain, opening_to_plain
from openbook.library.documents.portion import Portion
from openbook.library.documents.read import read_document, read_portion
from openbook.library.documents.scan import scan
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.tokenize import sequence
from openbook.library.split.chunk import Chunk
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.lm.tokenizers.approximate import ApproximateTokens
from openbook.lm.tokenizers.encoder import CheckpointTokens

Plain = dict[str, Any]

_counters: dict[str, TokenCounter] = {}


def work(task: Plain) -> Plain:
    """What a task asks for: the portions of a large file (`scan_file`), or a document, a part of one, or a record, with its
    chunks unless `task["split"]` is None.

    Raises `UnreadableFile` as `read_document` does, and when the file is no longer the one that was planned.
    """
    if task.get("scan"):
        return scan_file(task)
    began = time.perf_counter()
    document = without_surrogates(_document(task))
    result = document_plain(document)
    if task["split"] is not None:
        settings = SplitSettings.model_validate(task["split"])
        result["chunks"] = indexed(document, split(document, settings, counter_of(task["tokenizer"])))
    return result | {"seconds": time.perf_counter() - began}


def scan_file(task: Plain) -> Plain:
    """{"portions": [...]} of the large file `task["path"]`; none when it is read whole."""
    scanned = scan(Path(task["path"]), task["part_bytes"])
    if scanned.sha256 != task["sha256"]:
        raise _changed(task["path"])
    return {"portions": [portion.to_plain() for portion in scanned.portions]}


def resplit(task: Plain) -> list[IndexedChunk]:
    """The chunks of a stored part: `task` has its text, packed blocks, opening and title."""
    settings = SplitSettings.model_validate(task["split"])
    return indexed(document_of(task), split(document_of(task), settings, counter_of(task["tokenizer"])))


def _document(task: Plain) -> Document:
    if task["record"] is not None:
        if hashlib.sha256(task["record"].encode("utf-8")).hexdigest() != task["sha256"]:
            raise UnreadableFile(f"{task['path']} was edited or taken out since it was planned", "add its file again")
        return record_document(task["record"])
    path = Path(task["path"])
    if task["portion"] is None:
        document = read_document(path, max_file_bytes=task["max_file_bytes"])
        if _sha256(path) != task["sha256"]:
            raise _changed(path)
        return document
    portion = Portion.from_plain(task["portion"])
    document = read_portion(path, portion)
    if not portion.is_pages:
        return document  # whose bytes have been compared
    status = path.stat()
    if [status.st_size, status.st_mtime_ns] != task["status"] or (task["is_last"] and _sha256(path) != task["sha256"]):
        raise _changed(path)
    return document


def _changed(path: str | Path) -> UnreadableFile:
    return UnreadableFile(f"{path} changed while it was read", "add it again when it is written")


def document_plain(document: Document) -> Plain:
    """A document, or a part of one, as it crosses the pipe: blocks and anchors packed as the catalogue keeps them."""
    blocks = document.blocks
    return {
        "text": document.text,
        "blocks": pack_blocks(blocks),
        "anchors": list(pack_anchors(document.anchors)),
        "first_kind": blocks[0].kind if blocks else "",
        "last_block": [blocks[-1].start, blocks[-1].header_end, len(blocks) == 1] if blocks else None,
        "title": document.title,
        "kind": document.kind,
        "language": detect_language(document.text),
        "receipt": asdict(document.receipt),
        "metadata": dict(document.metadata),
        "opening": opening_to_plain(document.opening),
        "chunks": None,
        "seconds": 0.0,
    }


def document_of(result: Plain) -> Document:
    """What has to be known of a document to split it, from `document_plain`."""
    return Document(
        text=result["text"],
        blocks=unpack_blocks(result["blocks"]),
        title=result["title"],
        opening=opening_from_plain(result["opening"]),
    )


def indexed(document: Document, chunks: Sequence[Chunk]) -> list[IndexedChunk]:
    """Chunks with their place in bytes, their term counts, the tokens of the phrase index and their checksum."""
    found: list[IndexedChunk] = []
    position = byte_position = 0
    for chunk in chunks:
        if chunk.start < position:
            position = byte_position = 0
        byte_position += len(document.text[position : chunk.start].encode("utf-8"))
        position = chunk.start
        text = document.text[chunk.start : chunk.end]
        prefix = chunk.index_text[: len(chunk.index_text) - len(text)]
        counts = count_terms(chunk.index_text).to_blob()
        found.append(
            IndexedChunk(
                *(chunk.start, chunk.end, byte_position, byte_position + len(text.encode("utf-8")), prefix),
                *(json.dumps(chunk.heading, ensure_ascii=False), chunk.page, chunk.tokens, chunk.language),
                *(counts, " ".join(sequence(text)), text_crc(text, prefix, counts)),
            )
        )
    return found


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
