"""Chunks made again from stored text: for a new generation (`reembed`) and for a repair. Nothing is read from files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apsw

from openbook.core.errors import OpenbookError
from openbook.core.messages import Embedder
from openbook.core.progress import Progress, silent
from openbook.core.sandbox import WorkerFailure, WorkerPool
from openbook.core.threads import available_cpus
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.generations import (
    abandon_building,
    activate_generation,
    active_generation,
    building_generation,
    create_generation,
)
from openbook.library.catalogue.packing import unpack_opening
from openbook.library.catalogue.rows import ChunksOfPart, Generation, IndexedChunk, PartRow, ReadPart
from openbook.library.documents.model import Opening, opening_to_plain
from openbook.library.ingest.embedding import batches, embed_chunks
from openbook.library.ingest.pipeline import similarity_of
from openbook.library.ingest.shelf import Shelf
from openbook.library.ingest.work import Plain, counter_of, document_of, indexed
from openbook.library.lexical.tokenize import TOKENIZER_VERSION
from openbook.library.split.settings import SplitSettings
from openbook.library.split.split import split
from openbook.library.store import LibraryStore, dimension_of, embedder_named

SPLIT_TIMEOUT_S = 120.0
"""The limit for one part of a document."""


class Prepared(NamedTuple):
    """`parts` can be taken until the next document is asked for."""

    document_id: int
    parts: Iterable[ChunksOfPart]


class _Piece(NamedTuple):
    """Part `number` of the `of` parts of a stored document, split again."""

    document_id: int
    number: int
    of: int
    part: PartRow
    chunks: Sequence[IndexedChunk]


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
                writes.put_chunks(connection, prepared.document_id, building.id, prepared.parts)
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
    """The documents with their chunks for `generation`, split by workers and embedded in batches, in order."""
    settings = SplitSettings.model_validate_json(generation.splitter)
    embedder = store.embedder(generation)
    with Shelf(store.directory) as shelf:
        for batch in batches(_pieces(store, generation, settings, embedder, document_ids)):
            embedded = embed_chunks([(piece.part.text, piece.chunks) for piece in batch], embedder)
            for piece, chunks in zip(batch, embedded, strict=True):
                kept = ReadPart(piece.part.start, piece.part.byte_start, "", "", b"", "", (), chunks)
                parts = shelf.put(piece.number, piece.of, kept)
                if parts is not None:
                    found = (ChunksOfPart(one.start, one.byte_start, one.chunks) for one in parts)
                    yield Prepared(piece.document_id, found)


def _pieces(
    store: LibraryStore,
    generation: Generation,
    settings: SplitSettings,
    embedder: Embedder | None,
    document_ids: Sequence[int],
) -> Iterator[_Piece]:
    if not document_ids:
        return
    sent: deque[tuple[int, int, int, PartRow]] = deque()
    tokenizer = store.tokenizer(generation)

    def tasks() -> Iterator[Plain]:
        for one in _stored_parts(store, document_ids):
            sent.append(one[:4])
            yield _task(one[3], one[4], settings, tokenizer)

    if settings.splitter == "semantic":  # it asks the embedder, which lives in this process
        scorer = similarity_of(settings, embedder)
        for task in tasks():
            document = document_of(task)
            chunks = indexed(document, split(document, settings, counter_of(tokenizer), scorer))
            yield _Piece(*sent.popleft(), chunks)
        return
    workers = max(1, min(available_cpus(), len(document_ids)))
    with WorkerPool("openbook.library.ingest.work:resplit", workers=workers, timeout_s=SPLIT_TIMEOUT_S) as pool:
        for _, value in pool.map(tasks()):
            document_id, number, of, part = sent.popleft()
            if isinstance(value, WorkerFailure):
                raise OpenbookError(
                    f"d{document_id} cannot be split: {value.message}",
                    f"take it out with `openbook rm d{document_id}`, or choose another splitter; the library is as it was",
                )
            yield _Piece(document_id, number, of, part, [IndexedChunk(*chunk) for chunk in value])


def _stored_parts(store: LibraryStore, document_ids: Sequence[int]) -> Iterator[tuple[int, int, int, PartRow, str]]:
    """(document, number, how many, part, title) of every part, each read when it is asked for."""
    for document_id in document_ids:
        number, after = 0, -1
        with store.catalogue.read() as connection:
            title = str(connection.execute("SELECT title FROM documents WHERE id = ?", (document_id,)).get)
            of = reads.part_count(connection, document_id)
        while number < of:
            with store.catalogue.read() as connection:
                part = reads.next_part(connection, document_id, after)
            assert part is not None, "parts do not vanish while the lease is held"
            yield document_id, number, of, part, title
            number, after = number + 1, part.start


def _task(part: PartRow, title: str, settings: SplitSettings, tokenizer: str | None) -> Plain:
    stored = unpack_opening(part.opening)
    return {
        "text": part.text,
        "blocks": part.blocks,
        "opening": opening_to_plain(stored.opening if stored is not None else Opening()),
        "title": title,
        "split": settings.model_dump(),
        "tokenizer": tokenizer,
    }
