"""Chunks made again from stored text: for a new generation (`reembed`) and for a repair. Nothing is read from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from openbook.core.messages import Embedder
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.generations import (
    abandon_building,
    activate_generation,
    active_generation,
    building_generation,
    create_generation,
)
from openbook.library.catalogue.packing import pack_vector
from openbook.library.catalogue.rows import Generation, IndexedChunk
from openbook.library.documents.model import Document
from openbook.library.ingest.pipeline import BATCH_CHUNKS, similarity_of
from openbook.library.ingest.work import counter_of
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.tokenize import TOKENIZER_VERSION, sequence
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.library.store import LibraryStore, dimension_of, embedder_named


class Prepared(NamedTuple):
    document_id: int
    text: str
    chunks: list[IndexedChunk]


def reembed(
    store: LibraryStore, embedder: str | None, settings: SplitSettings | None = None, progress: Progress = silent
) -> Generation:
    """A new generation with another embedder (or splitter), filled while the old one answers, then put in its place.

    An interrupted call is resumed by the same call; another call drops what it had made.
    """
    name, description = embedder_named(embedder)
    dimension = (description.dimension or dimension_of(name)) if description else None
    with store.catalogue.ingest_lease() as lease:
        with store.catalogue.write() as connection:
            active = active_generation(connection)
            splitter = settings.model_dump_json() if settings else active.splitter
            building = building_generation(connection)
            wanted = (splitter, name, description.hash if description else None, TOKENIZER_VERSION)
            if (
                building
                and (building.splitter, building.embedder, building.embedder_hash, building.tokenizer_version) != wanted
            ):
                abandon_building(connection)
                building = None
            if building is None:
                create_generation(
                    connection,
                    "building",
                    splitter=splitter,
                    embedder=name,
                    embedder_hash=description.hash if description else None,
                    dimension=dimension,
                    tokenizer_version=TOKENIZER_VERSION,
                )
                building = building_generation(connection)
        assert building is not None
        with store.catalogue.read() as connection:
            waiting = _without_chunks(connection, building.id)
        for done, prepared in enumerate(prepare(store, building, waiting), 1):
            with store.catalogue.write() as connection:
                writes.put_chunks(connection, prepared.document_id, building.id, prepared.text, prepared.chunks)
                lease.beat()
            progress("embedding", done, len(waiting), f"d{prepared.document_id}")
        with store.catalogue.read() as connection:
            store.indexes.rebuild(connection, building)
        with store.catalogue.write() as connection:
            activate_generation(connection, building.id)
        store.indexes.forget()
    return store.generation()


def _without_chunks(connection: apsw.Connection, generation_id: int) -> list[int]:
    query = (
        "SELECT id FROM documents d WHERE NOT EXISTS "
        "(SELECT 1 FROM chunks c WHERE c.document_id = d.id AND c.generation_id = ?) ORDER BY id"
    )
    return [row[0] for row in connection.execute(query, (generation_id,))]


def prepare(store: LibraryStore, generation: Generation, document_ids: Sequence[int]) -> Iterator[Prepared]:
    """The documents with their chunks for `generation`, embedded in batches, in order."""
    settings = SplitSettings.model_validate_json(generation.splitter)
    embedder = store.embedder(generation)
    tokens = counter_of(store.tokenizer(generation))
    scorer = similarity_of(settings, embedder)
    batch: list[tuple[int, Document, list[IndexedChunk]]] = []
    for document_id in document_ids:
        with store.catalogue.read() as connection:
            document = stored_document(connection, document_id)
        chunks = [
            IndexedChunk(
                chunk,
                count_terms(chunk.index_text).to_blob(),
                " ".join(sequence(document.text[chunk.start : chunk.end])),
                None,
            )
            for chunk in split(document, settings, tokens, scorer)
        ]
        batch.append((document_id, document, chunks))
        if sum(len(one[2]) for one in batch) >= BATCH_CHUNKS:
            yield from _embedded(batch, embedder)
            batch = []
    yield from _embedded(batch, embedder)


def _embedded(batch: list[tuple[int, Document, list[IndexedChunk]]], embedder: Embedder | None) -> Iterator[Prepared]:
    texts = [item.chunk.index_text for _, _, chunks in batch for item in chunks]
    vectors = iter(embedder.embed(texts, "passage")) if embedder is not None and texts else None
    for document_id, document, chunks in batch:
        if vectors is not None:
            chunks = [
                IndexedChunk(item.chunk, item.counts, item.phrase_tokens, pack_vector(next(vectors))) for item in chunks
            ]
        yield Prepared(document_id, document.text, chunks)


def stored_document(connection: apsw.Connection, document_id: int) -> Document:
    """A document as it was read, without its anchors."""
    row: Any = connection.execute("SELECT title, kind FROM documents WHERE id = ?", (document_id,)).fetchone()
    title, kind = row
    return Document(
        text=reads.document_text(connection, document_id),
        blocks=reads.document_blocks(connection, document_id),
        title=title,
        kind=kind,
    )
