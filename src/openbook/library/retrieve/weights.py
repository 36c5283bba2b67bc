"""How much the vectors count beside BM25, by embedder and language of the query.

The table is fitted by `benchmarks/fit_weights.py` on data that no report uses, and kept by the embedder's hash.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from importlib.resources import files

DEFAULT_WEIGHT = 0.5
"""Of an embedder that was not fitted, in the languages that it was trained for"""


def dense_weight(embedder_hash: str, languages: Collection[str], language: str) -> float:
    """The share, 0..1, of the dense list for a query in `language`; BM25 has the rest.

    0 when the embedder was not trained for the language: its vectors would only disturb.
    """
    if language not in languages:
        return 0.0
    return _fitted().get(embedder_hash, {}).get(language, DEFAULT_WEIGHT)


@cache
def _fitted() -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = json.loads((files(__package__) / "weights.json").read_text("utf-8"))
    return table
