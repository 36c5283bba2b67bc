"""How much the vectors count beside BM25, by embedder and language of the query, and a reranker beside both.

The table is fitted by `benchmarks/fit_weights.py` and `benchmarks/rerank.py` on data that no report uses, and kept
by the embedder's hash.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

DEFAULT_WEIGHT = 0.5
"""Of what was not fitted: an embedder in the languages that it was trained for, a reranker over such an embedder's search"""


class RerankWeights(NamedTuple):
    """`weight`: the share, 0..1, of the reranker. `search`, `ask`: whether it was measured to win there, and is on by default."""

    weight: float = DEFAULT_WEIGHT
    search: bool = False
    ask: bool = False


def dense_weight(embedder_hash: str, languages: Collection[str], language: str) -> float:
    """The share, 0..1, of the dense list for a query in `language`; BM25 has the rest.

    0 when the embedder was not trained for the language: its vectors would only disturb.
    """
    if language not in languages:
        return 0.0
    return float(_fitted().get(embedder_hash, {}).get(language, DEFAULT_WEIGHT))


def rerank_weights(embedder_hash: str | None, reranker: str) -> RerankWeights:
    """Of a reranker by its name, over the search of an embedder. Off by default where it was not measured."""
    return RerankWeights(**_fitted().get(embedder_hash or "", {}).get(reranker, {}))


@cache
def _fitted() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads((files(__package__) / "weights.json").read_text("utf-8"))
    return table
