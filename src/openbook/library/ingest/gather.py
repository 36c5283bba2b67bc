"""Puts the parts of a document together as they come from the workers: offsets, receipt, hash, what goes on in the next."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from openbook.library.catalogue.packing import pack_blocks, pack_opening
from openbook.library.catalogue.rows import FoundFile, IndexedChunk, ReadDocument, ReadPart, StoredOpening
from openbook.library.documents.model import opening_from_plain
from openbook.library.ingest.work import Plain

_EMPTY = ReadPart(0, 0, "", "", pack_blocks(()), "", (), ())
_COUNTED = ("pages", "tables", "characters")
_LISTED = ("pages_without_text", "ocr_pages", "not_searchable", "notes")
_NO_TEXT = "no text was found in the file"


class Gathering:
    """What is known of one document after some of its parts. `add` them in order, then `document`."""

    def __init__(self, file: FoundFile) -> None:
        self.file = file
        self.chunks = 0
        self.seconds = 0.0
        self.head: Plain = {}
        self.receipt: dict[str, Any] = {}
        self._hash = hashlib.sha256()
        self._length = self._bytes = 0
        self._blocks: Counter[str] = Counter()
        self._began = (-1, -1)

    def add(self, result: Plain, chunks: Sequence[IndexedChunk]) -> ReadPart | None:
        """The part as it is stored, or None when there is no text in it."""
        text, opening = result["text"], opening_from_plain(result["opening"])
        if not self._length:
            self.head = {key: result[key] for key in ("kind", "title", "language", "metadata")}
        continues = opening.continues and self._length > 0 and bool(text)
        self._add_receipt(result, continues)
        self.seconds += result["seconds"]
        if not text:
            return None
        glue = opening.glue if self._length else ""
        packed = pack_opening(StoredOpening(opening, *(self._began if continues else ()))) if self._length else ""
        self._length += len(glue)
        self._bytes += len(glue.encode("utf-8"))
        part = ReadPart(
            *(self._length, self._bytes, glue, packed, result["blocks"], text),
            *([tuple(run) for run in result["anchors"]], chunks),
        )
        self._note_last_block(result["last_block"], continues)
        encoded = text.encode("utf-8", "surrogatepass")
        self._hash.update(glue.encode("utf-8"))
        self._hash.update(encoded)
        self._length += len(text)
        self._bytes += len(encoded)
        self.chunks += len(chunks)
        return part

    def document(self, parts: Iterable[ReadPart]) -> ReadDocument:
        """The whole, whose parts are those that `add` gave."""
        self.receipt |= {"blocks": dict(self._blocks), "characters": self._length}
        if self._length:
            self.receipt["not_searchable"] = [one for one in self.receipt["not_searchable"] if one != _NO_TEXT]
        return ReadDocument(
            file=self.file,
            kind=self.head["kind"],
            title=self.head["title"],
            language=self.head["language"],
            text_sha256=self._hash.hexdigest(),
            receipt=json.dumps(self.receipt | {"seconds": round(self.seconds, 3)}, ensure_ascii=False),
            metadata=json.dumps(self.head["metadata"], ensure_ascii=False),
            parts=parts if self._length else [_EMPTY],
        )

    def _add_receipt(self, result: Plain, continues: bool) -> None:
        found = result["receipt"]
        self._blocks.update(found["blocks"])
        if continues:
            self._blocks[result["first_kind"]] -= 1
        if not self.receipt:
            self.receipt = dict(found)
            return
        for name in _COUNTED:
            self.receipt[name] += found[name]
        if continues and result["first_kind"] == "table":
            self.receipt["tables"] -= 1
        for name in _LISTED:
            known = self.receipt[name]
            self.receipt[name] = [*known, *(one for one in found[name] if one not in known)]

    def _note_last_block(self, last: list[Any] | None, continues: bool) -> None:
        if last is None:
            self._began = (-1, -1)
            return
        start, header_end, is_only = last
        if not (is_only and continues):
            self._began = (self._length + start, self._length + header_end if header_end >= 0 else -1)
