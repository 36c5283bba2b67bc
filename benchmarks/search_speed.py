"""Milliseconds of a hybrid search in a warm process over 100,000 chunks, half of them Chinese.

    python benchmarks/search_speed.py [--chunks 100000] [--json benchmarks/results/search_speed.json]

Chunks are windows of SQuAD's paragraphs and of Chinese news, statutes and encyclopedia paragraphs; BM25 is built from
their real terms. Their vectors are random unit vectors around 500 centres (embedding 100,000 windows takes an hour
and the time of an exact search does not depend on the values much); the 200 SQuAD questions are embedded for real, by
the default embedder, within the measured time. CMRC questions go to BM25 alone, because that embedder has no Chinese.
Peers in the same run, interleaved: bm25s over the same terms, numpy float32 brute force over the same vectors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import cmrc, data_folder, drcd, squad, squad_train
from openbook.core.threads import set_thread_environment
from openbook.library.lexical.bm25 import Bm25Index
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.language import detect_language
from openbook.library.lexical.tokenize import query_terms, terms
from openbook.library.retrieve.fuse import Ranked, fuse_z_scores
from openbook.library.retrieve.weights import dense_weight
from openbook.library.vectors.exact import ExactIndex

DEPTH, DIMENSION, QUESTIONS = 100, 384, 200
Ids = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "search_speed.json")
    options = parser.parse_args()
    threads = set_thread_environment()
    half = options.chunks // 2
    chunks = [*islice(windows(english_texts(), 60, " "), half), *islice(windows(chinese_texts(), 200, ""), half)]
    vectors = clustered(len(chunks))
    with tempfile.TemporaryDirectory() as folder:
        lexical, dense = built(Path(folder), chunks, vectors)
        figures = measured(lexical, dense, chunks, vectors, options.rounds)
    report = {"chunks": len(chunks), "threads": threads, "milliseconds": figures}
    for name, row in figures.items():
        print(f"{name:<44} p50 {row['p50']:7.2f}  p95 {row['p95']:7.2f}")
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def english_texts() -> Iterator[str]:
    for one in cycle((squad(data_folder()), squad_train(data_folder()))):
        yield from (passage.text for passage in one.passages)


def chinese_texts() -> Iterator[str]:
    yield from (passage.text for one in (cmrc(data_folder()), drcd(data_folder())) for passage in one.passages)
    others = [
        *sorted((data_folder() / "kb_laws_zh").rglob("*.md")),
        *sorted((data_folder() / "crud_rag_news").iterdir()),
    ]
    texts = [text for path in others if path.is_file() for text in read_text(path).split("\n\n")]
    yield from cycle(texts)


def read_text(path: Path) -> str:
    import gzip

    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")


def windows(texts: Iterator[str], size: int, joint: str) -> Iterator[str]:
    """Runs of `size` words (`joint` " ") or characters (""), each shifted a little when a text comes again."""
    for number, text in enumerate(texts):
        units = text.split() if joint else list(text)
        shift = number // 20_000 * 7
        for start in range(min(shift, len(units) // 2), len(units), size):
            yield joint.join(units[start : start + size])


def clustered(rows: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((500, DIMENSION), dtype=np.float32)
    vectors = random.standard_normal((rows, DIMENSION), dtype=np.float32)
    vectors += 0.8 * centres[random.integers(0, 500, rows)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def built(folder: Path, chunks: list[str], vectors: NDArray[np.float32]) -> tuple[Bm25Index, ExactIndex]:
    began = time.perf_counter()
    Bm25Index.build(folder / "bm25", ((i, count_terms(text).to_blob()) for i, text in enumerate(chunks)), {})
    print(f"counted and built BM25 of {len(chunks)} chunks in {time.perf_counter() - began:.1f} s")
    runs = ((np.arange(i, i + 1000), vectors[i : i + 1000]) for i in range(0, len(chunks), 1000))
    ExactIndex.build(folder / "vectors", runs, DIMENSION, {})
    print({path.name: f"{path.stat().st_size / 1e6:.0f} MB" for path in folder.iterdir()})
    return Bm25Index.open(folder / "bm25"), ExactIndex.open(folder / "vectors")


def measured(
    lexical: Bm25Index, dense: ExactIndex, chunks: list[str], vectors: NDArray[np.float32], rounds: int
) -> dict[str, dict[str, float]]:
    """p50 and p95 of every step, the candidates interleaved question by question."""
    from openbook.library.embed.open import open_embedder

    embedder = open_embedder(None)
    dense.warm()
    few = np.sort(np.random.default_rng(1).choice(len(chunks), len(chunks) // 100, replace=False)).astype(np.int64)

    def hybrid(text: str, allowed: Ids | None) -> None:
        weight = dense_weight(embedder.hash, embedder.languages, detect_language(text))
        lists = [Ranked(*lexical.search(text, DEPTH, allowed), 1 - weight, len(chunks))]
        if weight > 0:
            lists.append(Ranked(*dense.search(embedder.embed([text], "query")[0], DEPTH, allowed), weight))
        fuse_z_scores(lists)

    peer = bm25s_search(chunks)
    steps: dict[str, Callable[[str, NDArray[np.float32]], object]] = {
        "hybrid": lambda text, _: hybrid(text, None),
        "hybrid, filter of 1 %": lambda text, _: hybrid(text, few),
        "bm25": lambda text, _: lexical.search(text, DEPTH),
        "bm25, filter of 1 %": lambda text, _: lexical.search(text, DEPTH, few),
        "bm25s, same terms (peer)": lambda text, _: peer(text),
        "exact vectors": lambda _, vector: dense.search(vector, DEPTH),
        "exact vectors, filter of 1 %": lambda _, vector: dense.search(vector, DEPTH, few),
        "numpy float32 brute force (peer)": lambda _, vector: brute_force(vectors, vector),
    }
    spent: dict[str, list[float]] = {}
    for language, one in (("en", squad(data_folder())), ("zh", cmrc(data_folder()))):
        questions = [query.text for query in one.queries[:: len(one.queries) // QUESTIONS][:QUESTIONS]]
        queries = embedder.embed(questions, "query")
        for number in range(rounds + 1):
            for text, vector in zip(questions, queries, strict=True):
                for name, step in steps.items():
                    began = time.perf_counter()
                    step(text, vector)
                    if number:  # the first round warms up
                        spent.setdefault(f"{language}: {name}", []).append((time.perf_counter() - began) * 1000)
    return {name: {"p50": float(np.median(ms)), "p95": float(np.quantile(ms, 0.95))} for name, ms in spent.items()}


def bm25s_search(chunks: list[str]) -> Callable[[str], Any]:
    import bm25s

    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([terms(text) for text in chunks], show_progress=False)
    return lambda text: index.retrieve([query_terms(text)], k=DEPTH, show_progress=False)


def brute_force(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> Any:
    scores = vectors @ query
    nearest = np.argpartition(scores, len(scores) - DEPTH)[len(scores) - DEPTH :]
    return nearest[np.argsort(-scores[nearest])]


if __name__ == "__main__":
    main()
