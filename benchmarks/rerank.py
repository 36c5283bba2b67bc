"""Reranking: nDCG@10 of the hybrid search alone and with a cross-encoder over its first passages, and what that takes.

    python benchmarks/rerank.py --vectors FOLDER [--adapter DIR] [--depth 20] [--queries N] [--write]

One weight, for all sets: what the cross-encoder's scores count beside those of the search, both in standard deviations over
the candidates. It is fitted on the questions of SQuAD's last 24 training articles, which `openbook data mine --held-out 24`
leaves out of what the reranker learns from: the smallest weight that is not for certain below the best one there, because on
other data than it learned from a cross-encoder errs more than the search. Reported on SQuAD's development set (whose articles are
asserted to be others), SciFact and Cranfield, and on data of another kind: snippets of the web (RGB) and an employees' handbook
(`handbook.py`).

`--write` puts the weight into the package, and whether reranking is on by default: where it wins on SQuAD's development set
(95 % interval of the paired difference above 0) and is nowhere below (no interval below 0).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets import Passage, Query, RetrievalSet, cranfield, data_folder, read_json, rgb, scifact, squad, squad_train
from fit_weights import TABLE
from handbook import handbook
from machine import describe
from retrieval import Vectors, enumerated_counts

if TYPE_CHECKING:
    from openbook.insight.evaluate.retrieval import Evaluation

HELD_OUT = 24
"""Articles at the end of SQuAD's training part."""
GRID = [round(0.05 * step, 2) for step in range(21)]
DEPTH = 100
LEAST_WRITTEN = 500
TIMED = (20, 50)
TIMED_QUERIES = 60


class Candidates(NamedTuple):
    """Of a query: the search's passages best first, their scores, and the cross-encoder's of the first ones."""

    names: list[str]
    scores: NDArray[np.float64]
    logits: NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="folder in which vectors are kept")
    parser.add_argument(
        "--adapter", type=Path, help="learned over the default embedder's encoder; none: the one that is shipped"
    )
    parser.add_argument("--depth", type=int, default=20, help="passages that are reranked")
    parser.add_argument("--queries", type=int, default=None, help="of each set, at most; by a checksum of their ids")
    parser.add_argument("--fit-queries", type=int, default=600)
    parser.add_argument("--precision", default="auto", help="auto: what a search uses")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "rerank.json")
    parser.add_argument("--write", action="store_true", help="write weight and default into the package")
    options = parser.parse_args()
    if options.write and options.queries is not None and options.queries < LEAST_WRITTEN:
        parser.error(f"--write needs at least {LEAST_WRITTEN} --queries of each set that has so many")
    from openbook.library.embed.default import default_directory
    from openbook.library.embed.open import open_embedder
    from openbook.library.embed.pairs import CrossEncoder
    from openbook.library.retrieve.reranker import NAME
    from openbook.lm.weights import shipped

    machine = describe()
    base = default_directory()
    assert base is not None, "needs the default embedder: openbook setup embedder"
    check_titles(data_folder())
    embedder = open_embedder(None)
    adapter = options.adapter or shipped(NAME)
    encoder = CrossEncoder(base, options.precision, adapter)
    fit = thinned(squad_last(data_folder()), options.fit_queries)
    curve = fitted(candidates(fit, embedder, encoder, options), fit.queries)
    weight = smallest(curve)
    print(f"weight {weight}, fitted on {len(fit.queries)} questions: {means(curve)}")
    report: dict[str, Any] = {
        "machine": machine,
        "adapter": adapter.name,
        "precision": encoder.precision,
        "depth": options.depth,
        "weight": weight,
        "fitted_on": {"queries": len(fit.queries), "ndcg@10": means(curve)},
        "sets": {},
    }
    for reader in (squad, scifact, cranfield, rgb, handbook):
        one = thinned(reader(data_folder()), options.queries)
        report["sets"][one.name] = judged(candidates(one, embedder, encoder, options), one.queries, weight)
        print(one.name, json.dumps(report["sets"][one.name]))
    report["milliseconds"] = timed(squad(data_folder()), encoder)
    print("milliseconds", report["milliseconds"])
    report["wins"] = wins(report["sets"])
    print("on by default in search:", report["wins"])
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if options.write:
        write(embedder.hash, NAME, weight, report["wins"])


def wins(sets: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether reranking is better on SQuAD's development set for certain, and worse for certain nowhere."""
    differences = {name: one["reranked minus hybrid"] for name, one in sets.items()}
    return bool(differences["squad"]["low"] > 0 and all(one["high"] >= 0 for one in differences.values()))


def write(embedder_hash: str, reranker: str, weight: float, is_on: bool) -> None:
    """Into the package. Whether `ask` reranks is measured by `rerank_ask.py`: with a new weight it is off until then."""
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    known = table.setdefault(embedder_hash, {}).get(reranker, {})
    asks = known.get("ask", False) if known.get("weight") == weight else False
    table[embedder_hash][reranker] = {"weight": weight, "search": is_on, "ask": asks}
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"written to {TABLE.name}: {table[embedder_hash][reranker]}")


def check_titles(folder: Path) -> None:
    """What is measured on was never learned from."""
    titles = [
        {article["title"] for article in read_json(folder / "squad" / name)["data"]}
        for name in ("squad_v1.1_train.json.gz", "squad_v1.1_dev_part.json.gz")
    ]
    assert not titles[0] & titles[1], sorted(titles[0] & titles[1])


def squad_last(folder: Path) -> RetrievalSet:
    """The last articles of SQuAD's training part: their questions, and their paragraphs."""
    whole = squad_train(folder)
    articles = read_json(folder / "squad" / "squad_v1.1_train.json.gz")["data"][-HELD_OUT:]
    texts = {paragraph["context"] for article in articles for paragraph in article["paragraphs"]}
    passages = [passage for passage in whole.passages if passage.text in texts]
    known = {passage.id for passage in passages}
    queries = [query for query in whole.queries if known.issuperset(query.relevant)]
    return RetrievalSet("squad_last", "en", passages, queries)


def thinned(one: RetrievalSet, most: int | None) -> RetrievalSet:
    order = sorted(one.queries, key=lambda query: zlib.crc32(query.id.encode()))
    return RetrievalSet(one.name, one.language, one.passages, order[:most])


def candidates(one: RetrievalSet, embedder: Any, encoder: Any, options: argparse.Namespace) -> list[Candidates]:
    """The hybrid's list of each query, as the library fuses it, and the cross-encoder's scores of its beginning."""
    vectors = Vectors(
        passage_vectors(options.vectors / f"ours.{one.name}.passage.npy", one.passages, embedder),
        embedder.embed([query.text for query in one.queries], "query"),
    )
    texts = {passage.id: passage.searchable for passage in one.passages}
    found = []
    for query, (names, scores) in zip(one.queries, hybrid(one.passages, one.queries, vectors, embedder), strict=True):
        logits = encoder.logits(query.text, [texts[name] for name in names[: options.depth]])
        found.append(Candidates(names, scores, logits))
    return found


def passage_vectors(path: Path, passages: Sequence[Passage], embedder: Any) -> NDArray[np.float32]:
    """From a file of `retrieval.py`, or made and kept there."""
    if not path.exists() or len(np.load(path, mmap_mode="r")) != len(passages):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, embedder.embed([passage.searchable for passage in passages], "passage"))
    vectors: NDArray[np.float32] = np.load(path)
    return vectors


def hybrid(
    passages: Sequence[Passage], queries: Sequence[Query], vectors: Vectors, embedder: Any
) -> list[tuple[list[str], NDArray[np.float64]]]:
    from openbook.library.lexical.bm25 import Bm25Index
    from openbook.library.lexical.counts import count_terms
    from openbook.library.lexical.language import detect_language
    from openbook.library.retrieve.fuse import Ranked, fuse_z_scores
    from openbook.library.retrieve.weights import dense_weight
    from openbook.library.vectors.exact import ExactIndex

    found = []
    with tempfile.TemporaryDirectory() as folder:
        Bm25Index.build(Path(folder) / "b", enumerated_counts(passages, count_terms), {})
        lexical = Bm25Index.open(Path(folder) / "b")
        dense = ExactIndex(vectors.passages.shape[1])
        dense.upsert([(np.arange(len(passages)), vectors.passages)])
        for query, vector in zip(queries, vectors.queries, strict=True):
            weight = dense_weight(embedder.hash, embedder.languages, detect_language(query.text))
            words = Ranked(*lexical.search(query.text, DEPTH), 1 - weight, len(passages))
            fused = fuse_z_scores([words, Ranked(*dense.search(vector, DEPTH), weight)])
            found.append(([passages[row].id for row in fused.ids[:DEPTH].tolist()], fused.scores[:DEPTH]))
    return found


def run_of(found: Sequence[Candidates], queries: Sequence[Query], weight: float) -> dict[str, list[str]]:
    from openbook.library.retrieve.rerank import interpolated

    runs = {}
    for query, one in zip(queries, found, strict=True):
        first = len(one.logits)
        order = np.argsort(-interpolated(one.scores[:first], one.logits, weight), kind="stable")
        runs[query.id] = [one.names[place] for place in order.tolist()] + one.names[first:]
    return runs


def fitted(found: Sequence[Candidates], queries: Sequence[Query]) -> list[Evaluation]:
    """At each weight of `GRID`."""
    from openbook.insight.evaluate.retrieval import evaluate

    relevant = {query.id: query.relevant for query in queries}
    return [evaluate(run_of(found, queries, weight), relevant) for weight in GRID]


def means(curve: Sequence[Evaluation]) -> dict[str, float]:
    """nDCG@10 by weight."""
    return {str(weight): round(one.mean(), 4) for weight, one in zip(GRID, curve, strict=True)}


def smallest(curve: Sequence[Evaluation]) -> float:
    """Down from the best weight, the last whose paired difference from it has a 95 % interval that reaches 0.

    Source: the rule of one standard error, Breiman, Friedman, Olshen, Stone 1984, with an interval of paired differences.
    """
    from openbook.insight.evaluate.retrieval import compare

    best = chosen = int(np.argmax([one.mean() for one in curve]))
    while chosen > 0 and compare(curve[chosen - 1], curve[best]).high >= 0:
        chosen -= 1
    return GRID[chosen]


def judged(found: Sequence[Candidates], queries: Sequence[Query], weight: float) -> dict[str, Any]:
    """The search alone, the cross-encoder's order alone, and both by the fitted weight; differences by paired bootstrap."""
    from openbook.insight.evaluate.retrieval import compare, evaluate

    relevant = {query.id: query.relevant for query in queries}
    runs = {"hybrid": 0.0, "reranked": weight, "reranker alone": 1.0}
    results = {name: evaluate(run_of(found, queries, one), relevant) for name, one in runs.items()}
    report: dict[str, Any] = {name: one.interval()._asdict() for name, one in results.items()}
    report["reranked minus hybrid"] = compare(results["reranked"], results["hybrid"])._asdict()
    return {"queries": len(queries)} | report


def timed(one: RetrievalSet, encoder: Any) -> dict[str, dict[str, float]]:
    """Of questions with so many paragraphs of their set, one at a time."""
    found: dict[str, dict[str, float]] = {}
    for count in TIMED:
        spans = []
        for number, query in enumerate(one.queries[:TIMED_QUERIES]):
            texts = [one.passages[(number + place) % len(one.passages)].text for place in range(count)]
            began = time.perf_counter()
            encoder.rank(query.text, texts)
            spans.append((time.perf_counter() - began) * 1000)
        found[str(count)] = {"p50": round(float(np.median(spans)), 1), "p95": round(float(np.quantile(spans, 0.95)), 1)}
    return found


if __name__ == "__main__":
    main()
