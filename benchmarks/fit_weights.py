"""Fits how much the vectors count beside BM25 and writes it into the package, under the embedder's hash.

    python benchmarks/fit_weights.py --vectors FOLDER [--embedder DIR]

Fitted on a part of SQuAD v1.1 train and on the SciFact claims without evidence (their cited abstracts); the benchmark
reports on SQuAD's development set, on the claims with evidence, and on three more sets, none of which is read here.
The weight with the highest nDCG@10, averaged over both sets, wins; a language that the embedder was not trained for
is not fitted: it gets 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from datasets import RetrievalSet, data_folder, scifact_cited, squad_fit
from openbook.insight.evaluate.retrieval import evaluate
from openbook.library.embed.open import open_embedder
from openbook.library.lexical.bm25 import Bm25Index
from openbook.library.lexical.counts import count_terms
from openbook.library.retrieve import weights
from openbook.library.retrieve.fuse import Ranked, fuse_z_scores
from openbook.library.vectors.exact import ExactIndex
from retrieval import DEPTH, Vectors, cached, enumerated_counts

GRID = [round(0.05 * step, 2) for step in range(21)]
TABLE = Path(weights.__file__).with_name("weights.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="folder in which vectors are kept")
    parser.add_argument("--embedder", default=None, help="directory or URL; the default embedder when left out")
    options = parser.parse_args()
    embedder = open_embedder(options.embedder)
    curves = []
    for one in (squad_fit(data_folder()), scifact_cited(data_folder())):
        vectors = cached(options.vectors, one, embedder.hash[:12], embedder.embed)
        curves.append(curve(one, vectors))
        print(
            one.name,
            len(one.queries),
            "queries:",
            {w: round(float(v), 4) for w, v in zip(GRID, curves[-1], strict=True)},
        )
    best = GRID[int(np.argmax(np.mean(curves, axis=0)))]
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
    table.setdefault(embedder.hash, {})["en"] = best
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{embedder.name}: weight {best} for English queries, written to {TABLE.name}")


def curve(one: RetrievalSet, vectors: Vectors) -> list[float]:
    """nDCG@10 at each weight of `GRID`."""
    lists = []
    with tempfile.TemporaryDirectory() as folder:
        Bm25Index.build(Path(folder) / "b", enumerated_counts(one.passages, count_terms), {})
        lexical = Bm25Index.open(Path(folder) / "b")
        dense = ExactIndex(vectors.passages.shape[1])
        dense.upsert([(np.arange(len(one.passages)), vectors.passages)])
        for query, vector in zip(one.queries, vectors.queries, strict=True):
            lists.append((lexical.search(query.text, DEPTH), dense.search(vector, DEPTH)))
    relevant = {query.id: query.relevant for query in one.queries}
    means = []
    for weight in GRID:
        runs = {}
        for query, (words, meaning) in zip(one.queries, lists, strict=True):
            fused = fuse_z_scores([Ranked(*words, 1 - weight, len(one.passages)), Ranked(*meaning, weight)])
            runs[query.id] = [one.passages[i].id for i in fused.ids[:DEPTH].tolist()]
        means.append(evaluate(runs, relevant).mean())
    return means


if __name__ == "__main__":
    main()
