"""Searching a whole library of 100,000 chunks, as a program does: `Library.search`, idle and while documents are committed.

    python benchmarks/search_live.py [--chunks 100000] [--json benchmarks/results/search_live.json]

The library has 10,000 documents of ten chunks, half of them Chinese; texts and vectors as in `search_speed.py`. 200 SQuAD and
200 CMRC questions are embedded, searched, fused, folded and fetched; the same with a path filter that keeps 1 % of the
documents. Then another process commits a document every 100 ms, and the first search after each commit must find it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

import machine
from datasets import cmrc, data_folder, squad
from openbook.core.threads import set_thread_environment
from openbook.library.catalogue import writes
from openbook.library.catalogue.packing import pack_vector
from openbook.library.catalogue.rows import FoundFile, ReadDocument
from openbook.library.documents.model import Block, Document
from openbook.library.ingest.gather import Gathering
from openbook.library.ingest.work import document_plain, indexed
from openbook.library.lexical.language import detect_language
from openbook.library.split.chunk import Chunk
from openbook.library.split.settings import SplitSettings
from openbook.library.store import LibraryStore
from search_speed import DIMENSION, QUESTIONS, chinese_texts, clustered, english_texts, windows

CHUNKS_A_DOCUMENT = 10
COMMIT_EVERY_S = 0.1


def read_document(number: int, path: str, texts: Sequence[str], vectors: np.ndarray) -> ReadDocument:
    """A document of ready-made chunks, as the ingest pipeline would hand it to the catalogue."""
    text = "\n\n".join(texts)
    chunks, blocks, start = [], [], 0
    for one in texts:
        end = start + len(one)
        blocks.append(Block("paragraph", start, end))
        chunks.append(Chunk(start, end, one, (), None, len(one.split()), detect_language(one)))
        start = end + 2
    document = Document(text, tuple(blocks))
    found = zip(indexed(document, chunks), vectors, strict=True)
    file = FoundFile(path, 1, "default", f"{path}-{number}", ".txt", len(text), 1)
    gathering = Gathering(file)
    part = gathering.add(document_plain(document), [one._replace(vector=pack_vector(row)) for one, row in found])
    assert part is not None
    return gathering.document([part])


def build(directory: Path, count: int) -> None:
    """A library of `count` chunks; one document in a hundred lies in the folder `/few/`."""
    half = count // 2
    english = list(islice(windows(english_texts(), 60, " "), half))
    chinese = list(islice(windows(chinese_texts(), 200, ""), half))
    vectors = clustered(count)
    store = LibraryStore.create(directory, SplitSettings())
    with store.catalogue.write() as connection:
        writes.put_root(connection, "/", "default", "folder", ())
    generation = store.generation()
    for number in range(count // CHUNKS_A_DOCUMENT):
        source = (english, chinese)[number % 2]
        first = number // 2 * CHUNKS_A_DOCUMENT
        texts = source[first : first + CHUNKS_A_DOCUMENT]
        folder = "few" if number % 100 < 2 and number % 200 < 100 else "many"
        rows = vectors[number * CHUNKS_A_DOCUMENT :][: len(texts)]
        with store.catalogue.write() as connection:
            writes.put_document(
                connection, read_document(number, f"/{folder}/{number}.txt", texts, rows), generation.id
            )
    with store.catalogue.read() as connection:
        store.indexes.rebuild(connection, generation)
    store.close()


def commit_forever(directory: Path) -> None:
    """Commits one small document every 100 ms and prints a line after each."""
    store = LibraryStore(directory)
    generation = store.generation()
    vectors = clustered(1)
    number = time.time_ns() // 1_000_000
    while True:
        text = f"The commit of number zq{number}x came at its moment, with some other words about harbours and ferries."
        with store.catalogue.write() as connection:
            writes.put_document(connection, read_document(number, f"/new/{number}.txt", [text], vectors), generation.id)
        print(f"zq{number}x", flush=True)
        number += 1
        time.sleep(COMMIT_EVERY_S)


def questions() -> Iterator[tuple[str, list[str]]]:
    for language, one in (("en", squad(data_folder())), ("zh", cmrc(data_folder()))):
        yield language, [query.text for query in one.queries[:: len(one.queries) // QUESTIONS][:QUESTIONS]]


def timed(search: object, texts: Sequence[str], filters: tuple[str, ...]) -> list[float]:
    spent = []
    for text in texts:
        began = time.perf_counter()
        search(text, 10, filters=filters)  # type: ignore[operator]
        spent.append((time.perf_counter() - began) * 1000)
    return spent


def measure(directory: Path, rounds: int) -> dict[str, dict[str, float]]:
    from openbook import Library

    library = Library.open(directory, create=False)
    for _, texts in questions():
        timed(library.search, texts[:20], ())
    with library.store.catalogue.read() as connection:
        vectors = library.store.indexes.current(connection).vectors
    assert vectors is not None
    vectors.warm()
    spent: dict[str, list[float]] = {}

    def run(suffix: str) -> None:
        for language, texts in questions():
            spent.setdefault(f"{language}{suffix}", []).extend(timed(library.search, texts, ()))
            name = f"{language}, filter of 1 %{suffix}"
            spent.setdefault(name, []).extend(timed(library.search, texts, ("path=/few/*",)))

    for _ in range(rounds):
        run("")
    command = [sys.executable, __file__, "--commit", str(directory)]
    committing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert committing.stdout is not None
    committing.stdout.readline()
    for _ in range(rounds):
        run(", a commit every 100 ms")
    committing.terminate()
    committing.wait()
    # A new one, whose lines are read as they come: nothing waits in the pipe.
    committing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert committing.stdout is not None
    found = 0
    for _ in range(20):
        name = committing.stdout.readline().strip()
        found += any(name in hit.text for hit in library.search(name, 3))
    committing.terminate()
    committing.wait()
    figures = {
        name: {"p50": float(np.percentile(v, 50)), "p95": float(np.percentile(v, 95))} for name, v in spent.items()
    }
    figures["found by the first search after its commit"] = {"of": 20, "found": found}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "search_live.json")
    options = parser.parse_args()
    set_thread_environment()
    if options.commit:
        commit_forever(options.commit)
    assert DIMENSION == 384
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        build(Path(folder) / "library", options.chunks)
        print(f"built {options.chunks} chunks in {time.perf_counter() - began:.0f} s", flush=True)
        figures = measure(Path(folder) / "library", options.rounds)
    for name, row in figures.items():
        print(f"{name:<50} " + "  ".join(f"{key} {value:7.2f}" for key, value in row.items()))
    report = {"machine": machine.describe(), "chunks": options.chunks, "rounds": options.rounds, "figures": figures}
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
