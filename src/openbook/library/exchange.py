"""A library's documents as plain files, and back: `documents.jsonl`, `chunks.jsonl`, `vectors.safetensors`.

Two libraries with the same documents, read in the same order, give the same files, byte for byte, but for
`library.json` (versions and settings). Times of day and of work are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import apsw

from openbook.core.errors import UsageError
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.packing import pack_anchors, pack_blocks, unpack_anchors, unpack_blocks
from openbook.library.catalogue.rows import DocumentRow, FoundFile, IndexedChunk, ReadDocument, ReadPart
from openbook.library.catalogue.scope import OWNER
from openbook.library.documents.model import Block, Document, anchor_from_plain
from openbook.library.exported import FORMAT, Exported, ExportedPart, read_about, verify
from openbook.library.ingest.work import indexed
from openbook.library.split.chunk import Chunk
from openbook.library.split.settings import SplitSettings
from openbook.library.store import DEFAULT_EMBEDDER, LibraryStore
from openbook.library.vectors_file import write_vectors


def export_library(store: LibraryStore, directory: Path, progress: Progress = silent) -> int:
    """Writes the active generation into an empty or new directory and returns the number of documents."""
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty", "name a new directory")
    directory.mkdir(parents=True, exist_ok=True)
    with store.catalogue.read() as connection:
        generation = active_generation(connection)
        documents = 0
        with replacing(directory / "documents.jsonl") as file:
            for row in reads.documents(connection, OWNER):
                documents += 1
                for plain in _document_lines(connection, row):
                    file.write(_line(plain))
                progress("exporting", documents, None, row.paths[0] if row.paths else "")
        with replacing(directory / "chunks.jsonl") as file:
            for plain in _chunks(connection, generation.id):
                file.write(_line(plain))
        if generation.dimension is not None:
            with replacing(directory / "vectors.safetensors") as file:
                _write_vectors(connection, file, generation.id, generation.dimension)
        about = {
            "format": FORMAT,
            "documents": documents,
            "splitter": json.loads(generation.splitter),
            "embedder": generation.embedder,
            "embedder_hash": generation.embedder_hash,
            "dimension": generation.dimension,
            "tokenizer_version": generation.tokenizer_version,
            "roots": [root._asdict() for root in reads.roots(connection)],
        }
        with replacing(directory / "library.json") as file:
            file.write(json.dumps(about, ensure_ascii=False, indent=2).encode("utf-8"))
    return documents


def _line(plain: dict[str, Any]) -> bytes:
    return (json.dumps(plain, ensure_ascii=False, sort_keys=True) + "\n").encode("utf-8")


def _document_lines(connection: apsw.Connection, row: DocumentRow) -> Iterator[dict[str, Any]]:
    """A line for the document with its first part, and one for each of the other parts of a large one."""
    receipt = json.loads(row.receipt)
    receipt.pop("seconds", None)
    paths = connection.execute(
        "SELECT path, root_id, size_bytes, mtime_ns FROM paths WHERE document_id = ? ORDER BY path", (row.id,)
    )
    head: dict[str, Any] = {
        "id": row.id,
        "collection": row.collection,
        "paths": [dict(zip(("path", "root", "size_bytes", "mtime_ns"), path, strict=True)) for path in paths],
        "sha256": row.sha256,
        "suffix": row.suffix,
        "version": row.version,
        "kind": row.kind,
        "title": row.title,
        "language": row.language,
        "size_bytes": row.size_bytes,
        "receipt": receipt,
        "metadata": reads.document_metadata(connection, row.id),
        "parts": reads.part_count(connection, row.id),
    }
    for number, part in enumerate(reads.document_parts(connection, row.id)):
        runs = reads.anchor_runs(connection, row.id, part)
        yield (head if number == 0 else {"document": row.id, "part": number}) | {
            "glue": part.glue,
            "opening": json.loads(part.opening) if part.opening else None,
            "text": part.text,
            "blocks": [list(block) for block in unpack_blocks(part.blocks)],
            "anchors": [list(anchor) for start, _, run in runs for anchor in unpack_anchors(run, start)],
        }


def _chunks(connection: apsw.Connection, generation_id: int) -> Iterator[dict[str, Any]]:
    query = (
        'SELECT document_id, start, "end", prefix, heading, page, tokens, language FROM chunks '
        "WHERE generation_id = ? ORDER BY document_id, id"
    )
    names = ("document", "start", "end", "prefix", "heading", "page", "tokens", "language")
    for row in connection.execute(query, (generation_id,)):
        plain: dict[str, Any] = dict(zip(names, row, strict=True))
        yield plain | {"heading": json.loads(plain["heading"])}


def _write_vectors(connection: apsw.Connection, file: IO[bytes], generation_id: int, dimension: int) -> None:
    """The vectors of the chunks, in the order of their lines."""
    chunks = "FROM chunks c JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ?"
    count = int(connection.execute(f"SELECT count(*) {chunks}", (generation_id,)).get)
    rows = connection.execute(f"SELECT v.vector {chunks} ORDER BY c.document_id, c.id", (generation_id,))
    write_vectors(file, count, dimension, (row[0] for row in rows))


def import_library(store_directory: Path, directory: Path, progress: Progress = silent) -> int:
    """Makes a new library in `store_directory` from exported files; returns the number of documents.

    Vectors are taken over when the default embedder made them; otherwise the library is made without, and `openbook
    reembed` adds them: a name in somebody's files is not followed. Raises `UsageError` before anything is made when
    the files are not whole. Paths that could not be read and grants are not exported.
    """
    try:
        about = read_about(directory)
        # The name of an embedder in somebody's files is not followed: a URL would be sent every question.
        if about["embedder"] != DEFAULT_EMBEDDER:
            about |= {"embedder": None, "embedder_hash": None, "dimension": None}
        documents = verify(directory, about)
        split = SplitSettings.model_validate(about["splitter"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        raise UsageError(
            f"{directory} is no whole export ({type(error).__name__}: {error})", "export the library again"
        ) from None
    store = LibraryStore.create(store_directory, split, about["embedder"] or "none")
    try:
        generation = store.generation()
        if generation.embedder_hash != about["embedder_hash"]:
            raise UsageError(
                f"{directory} was embedded with {about['embedder']}, of which another version is found here",
                "import it where that embedder is installed",
            )
        roots = {root["id"]: root for root in about["roots"]}
        with store.catalogue.write() as connection:
            for root in about["roots"]:
                writes.put_root(connection, root["path"], root["collection"], root["kind"], root["exclude"])
        with Exported(directory, about["dimension"]) as exported:
            for count, plain in enumerate(exported.documents(), 1):
                _import_document(store, plain, exported, roots, generation.id)
                progress("importing", count, documents, plain["title"])
        store.indexes.settle(at_end=True)
        return documents
    finally:
        store.close()


def _import_document(
    store: LibraryStore, plain: dict[str, Any], exported: Exported, roots: dict[int, dict[str, Any]], generation_id: int
) -> None:
    """One document in one transaction, part by part; its further paths lead to the same one."""
    digest = hashlib.sha256()
    with store.catalogue.write() as connection:
        files: list[FoundFile] = []
        for path in plain["paths"]:
            root = roots[path["root"]]
            root_id = writes.put_root(connection, root["path"], root["collection"], root["kind"], root["exclude"])
            about = (
                root_id,
                plain["collection"],
                plain["sha256"],
                plain["suffix"],
                path["size_bytes"],
                path["mtime_ns"],
            )
            files.append(FoundFile(path["path"], *about))
        read = ReadDocument(
            file=files[0],
            kind=plain["kind"],
            title=plain["title"],
            language=plain["language"],
            text_sha256="",
            receipt=json.dumps(plain["receipt"] | {"seconds": 0.0}, ensure_ascii=False),
            metadata=json.dumps(plain["metadata"], ensure_ascii=False),
            parts=_parts(exported, plain, digest),
        )
        document_id = writes.put_document(connection, read, generation_id)
        writes.complete_import(connection, document_id, plain["version"], digest.hexdigest())
        for file in files[1:]:
            writes.attach_path(connection, file, document_id)


def _parts(exported: Exported, plain: dict[str, Any], digest: hashlib._Hash) -> Iterator[ReadPart]:
    byte_end = 0
    for part in exported.parts(plain):
        line = part.line
        text, glue = line["text"].encode("utf-8"), line["glue"].encode("utf-8")
        digest.update(glue + text)
        byte_start = byte_end + len(glue)
        byte_end = byte_start + len(text)
        opening = json.dumps(line["opening"], ensure_ascii=False) if line["opening"] is not None else ""
        yield ReadPart(
            *(part.start, byte_start, line["glue"], opening, pack_blocks([Block(*block) for block in line["blocks"]])),
            *(line["text"], list(pack_anchors([anchor_from_plain(anchor) for anchor in line["anchors"]]))),
            _indexed_chunks(part),
        )


def _indexed_chunks(part: ExportedPart) -> list[IndexedChunk]:
    document = Document(text=part.line["text"], blocks=())
    chunks: list[Chunk] = []
    for chunk, _ in part.chunks:
        start, end = chunk["start"] - part.start, chunk["end"] - part.start
        index_text = chunk["prefix"] + document.text[start:end]
        heading = tuple(chunk["heading"])
        chunks.append(Chunk(start, end, index_text, heading, chunk["page"], chunk["tokens"], chunk["language"]))
    found = indexed(document, chunks)
    return [item._replace(vector=vector) for item, (_, vector) in zip(found, part.chunks, strict=True)]
