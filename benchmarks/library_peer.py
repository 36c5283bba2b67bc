"""One peer pipeline, run by `library.py` with the Python of a venv that has it: ingest, then search. Prints one JSON line.

`library_peer.py chroma|txtai MODEL_DIR INPUT QUERIES OUT BATCH`: INPUT is a JSONL of records or a folder of text files.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", ANONYMIZED_TELEMETRY="False", TOKENIZERS_PARALLELISM="false"
)
ADD_AT_ONCE = 4_000


def read(source: Path) -> tuple[list[str], list[str]]:
    if source.is_dir():
        files = sorted(source.iterdir())
        return [file.name for file in files], [file.read_text("utf-8") for file in files]
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    return [str(row["id"]) for row in rows], [row["text"] for row in rows]


def chroma(
    model_dir: str, out: Path, batch: int
) -> tuple[Callable[[list[str], list[str]], None], Callable[[str], Any]]:
    import chromadb
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(model_dir, device="cpu")
    collection = chromadb.PersistentClient(str(out)).create_collection("passages", embedding_function=None)

    def add(ids: list[str], texts: list[str]) -> None:
        vectors = model.encode(texts, batch_size=batch, normalize_embeddings=True)
        for first in range(0, len(ids), ADD_AT_ONCE):
            last = first + ADD_AT_ONCE
            collection.add(ids=ids[first:last], documents=texts[first:last], embeddings=vectors[first:last])

    def search(query: str) -> Any:
        return collection.query(query_embeddings=model.encode([query], normalize_embeddings=True), n_results=10)

    return add, search


def txtai(model_dir: str, out: Path, batch: int) -> tuple[Callable[[list[str], list[str]], None], Callable[[str], Any]]:
    from txtai import Embeddings

    embeddings = Embeddings(
        path=model_dir, method="sentence-transformers", hybrid=True, content=True, encodebatch=batch, gpu=False
    )

    def add(ids: list[str], texts: list[str]) -> None:
        embeddings.index(zip(ids, texts, [None] * len(ids), strict=True))
        embeddings.save(str(out / "index"))

    return add, lambda query: embeddings.search(query, 10)


def main() -> None:
    system, model_dir, source, queries, out, batch = sys.argv[1:]
    add, search = {"chroma": chroma, "txtai": txtai}[system](model_dir, Path(out), int(batch))
    began = time.perf_counter()
    ids, texts = read(Path(source))
    add(ids, texts)
    seconds = time.perf_counter() - began
    questions = json.loads(Path(queries).read_text("utf-8"))
    for question in questions[:10]:
        search(question)
    times = []
    for question in questions:
        start = time.perf_counter()
        search(question)
        times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"seconds": seconds, "passages": len(ids), "search_p50_ms": statistics.median(times)}))


if __name__ == "__main__":
    main()
