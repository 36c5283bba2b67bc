"""How good a ranking is: nDCG@10, recall@1/5/10/100, MRR@10, with bootstrap intervals over the queries.

Definitions are those of trec_eval and ranx: gains are the grades themselves (linear), a grade of 0 or less is not
relevant, recall divides by all relevant documents. Source: K. Jaervelin, J. Kekaelaeinen, "Cumulated gain-based
evaluation of IR techniques" (2002); B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

METRICS = ("ndcg@10", "recall@1", "recall@5", "recall@10", "recall@100", "mrr@10")
_RESAMPLES = 2_000
_BLOCK = 256
_SEED = 20_180_610


class Interval(NamedTuple):
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class Difference(NamedTuple):
    """Mean of a - b over the same queries, 95 % interval, and the share of resamples in which it is not above 0."""

    mean: float
    low: float
    high: float
    not_above_zero: float


@dataclass(frozen=True)
class Evaluation:
    """`values[metric]` (Q,) float64 of each query in `query_ids`."""

    query_ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]

    def mean(self, metric: str = "ndcg@10") -> float:
        return float(self.values[metric].mean()) if len(self.query_ids) else 0.0

    def interval(self, metric: str = "ndcg@10", seed: int = _SEED) -> Interval:
        low, high, _ = _bootstrap(self.values[metric], seed)
        return Interval(self.mean(metric), low, high)

    def summary(self) -> dict[str, Interval]:
        return {metric: self.interval(metric) for metric in METRICS}


def evaluate(rankings: Mapping[str, Sequence[str]], relevant: Mapping[str, Mapping[str, float]]) -> Evaluation:
    """Scores `rankings` (query id -> document ids, best first) against `relevant` (query id -> document id -> grade).

    Every query that has a relevant document counts; one without a ranking scores 0. Queries without a relevant
    document cannot be scored and are left out.
    """
    judged = {query: grades for query, grades in relevant.items() if any(grade > 0 for grade in grades.values())}
    rows = [score_ranking(rankings.get(query, ()), grades) for query, grades in judged.items()]
    values = {metric: np.array([row[metric] for row in rows], np.float64) for metric in METRICS}
    return Evaluation(tuple(judged), values)


def score_ranking(ranking: Sequence[str], grades: Mapping[str, float]) -> dict[str, float]:
    """All of `METRICS` for one query. Raises `ValueError` when the ranking names a document twice."""
    if len(set(ranking)) != len(ranking):
        raise ValueError(f"a ranking names a document twice: {next(d for d in ranking if ranking.count(d) > 1)!r}")
    gains = [max(0.0, float(grades.get(document, 0))) for document in ranking[:100]]
    ideal = sorted((float(grade) for grade in grades.values() if grade > 0), reverse=True)
    best = _dcg(ideal[:10])
    first = next((rank for rank, gain in enumerate(gains[:10], 1) if gain > 0), 0)
    scores = {"ndcg@10": _dcg(gains[:10]) / best if best else 0.0, "mrr@10": 1.0 / first if first else 0.0}
    for cut in (1, 5, 10, 100):
        found = sum(gain > 0 for gain in gains[:cut])
        scores[f"recall@{cut}"] = found / len(ideal) if ideal else 0.0
    return scores


def _dcg(gains: Sequence[float]) -> float:
    return sum((gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1)), 0.0)


def compare(a: Evaluation, b: Evaluation, metric: str = "ndcg@10", seed: int = _SEED) -> Difference:
    """Paired bootstrap of a - b. Raises `ValueError` when they are not of the same queries in the same order."""
    if a.query_ids != b.query_ids:
        raise ValueError(f"evaluations of {len(a.query_ids)} and {len(b.query_ids)} queries that are not the same")
    return difference(a.values[metric], b.values[metric], seed)


def difference(a: NDArray[np.float64], b: NDArray[np.float64], seed: int = _SEED) -> Difference:
    """Paired bootstrap of a - b; a, b: (Q,) of the same queries."""
    differences = a - b
    low, high, not_above = _bootstrap(differences, seed)
    return Difference(float(differences.mean()) if len(differences) else 0.0, low, high, not_above)


def _bootstrap(values: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """2.5 % and 97.5 % quantiles of the resampled mean, and the share of resamples with a mean <= 0."""
    if not len(values):
        return 0.0, 0.0, 1.0
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            values[random.integers(0, len(values), (min(_BLOCK, _RESAMPLES - start), len(values)))].mean(axis=1)
            for start in range(0, _RESAMPLES, _BLOCK)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high), float(np.mean(means <= 0))
