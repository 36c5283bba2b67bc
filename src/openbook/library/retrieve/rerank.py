"""Reranking: the search's first passages read beside the query, and ordered by both scores. What found a passage still counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.library.retrieve.fuse import Fused, Ids, z_scores

DEPTH = 20
"""Candidates that are reranked, where nothing else is asked for."""
Scores = NDArray[np.float32] | NDArray[np.float64]


class Reranking(NamedTuple):
    """`score`: (query, texts) -> (n,), higher is better. `weight`: its share, 0..1, beside the search's scores, in its own unit.

    `languages` of the passages that it reads; None: of all.
    """

    name: str
    score: Callable[[str, Sequence[str]], Scores]
    weight: float
    depth: int = DEPTH
    languages: frozenset[str] | None = None


class RerankNote(NamedTuple):
    """What became of reranking: how many of the search's candidates were `scored`, or why it was `skipped`."""

    reranker: str
    weight: float
    scored: int = 0
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if name != "skipped" or value}


class Candidate(NamedTuple):
    """Of a chunk: what is embedded and indexed of it, its title and headings included, and its language."""

    text: str
    language: str


class Reranked(NamedTuple):
    """`scores`: the reranker's, by chunk id."""

    fused: Fused
    scores: dict[int, float]


def rerank(query: str, fused: Fused, candidates: Mapping[int, Candidate], stage: Reranking) -> Reranked:
    """The first `stage.depth` of `fused` that are among `candidates`, ordered anew on their own places.

    What has no text, or is in a language that the reranker does not read, keeps its place, and so does all that stands below.
    A text that stands there twice is read once. Raises ModelUnavailable where the reranker gives no usable scores.
    """
    first = [place for place, one in enumerate(fused.ids.tolist()) if one in candidates][: stage.depth]
    found = [(place, candidates[int(fused.ids[place])]) for place in first]
    read = [(place, one.text) for place, one in found if one.text.strip() and _is_read(one.language, stage)]
    if not read:
        return Reranked(fused, {})
    places = np.array([place for place, _ in read], np.int64)
    texts = list(dict.fromkeys(text for _, text in read))
    scores = _checked(stage.score(query, texts), len(texts), stage.name)
    known = dict(zip(texts, scores.tolist(), strict=True))
    ranks = np.array([known[text] for _, text in read], np.float64)
    by_id = dict(zip(fused.ids[places].tolist(), ranks.tolist(), strict=True))
    return Reranked(reordered(fused, places, ranks, stage.weight), by_id)


def _is_read(language: str, stage: Reranking) -> bool:
    return stage.languages is None or language in stage.languages


def _checked(scores: Scores, count: int, name: str) -> Scores:
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise ModelUnavailable(
            f"the reranker {name} gave no score for each of {count} passages",
            "search with --no-rerank, or use another reranker",
        )
    return scores


def reordered(fused: Fused, places: Ids, ranks: Scores, weight: float) -> Fused:
    """`fused` with what stands on `places` (n,), ascending, in the order of `interpolated`; ties keep the search's order.

    Their scores are the interpolated ones in the units of `fused`; no score is above that of the place before it.
    """
    found = fused.scores[places]
    both = interpolated(found, ranks, weight)
    order = np.argsort(-both, kind="stable")
    ids, scores = fused.ids.copy(), fused.scores.copy()
    ids[places] = fused.ids[places][order]
    scores[places] = found.mean() + (found.std() or 1.0) * z_scores(both[order].astype(np.float32))
    return Fused(ids, np.minimum.accumulate(scores))


def interpolated(found: Scores, reranked: Scores, weight: float) -> NDArray[np.float64]:
    """found, reranked: (n,) scores of a query's candidates -> (n,): (1 - weight) of the one, weight of the other. With weight 0
    the order is the search's, with 1 the reranker's.

    Each keeps its unit, and a weight belongs to both: fused z-scores and logits. Where a reranker sees no difference, its logits
    are alike and say nothing; in standard deviations over the candidates they would count as much as where it is sure.
    ValueError for a weight outside 0..1.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight {weight} is no share: give 0 to 1")
    total: NDArray[np.float64] = (1.0 - weight) * found.astype(np.float64) + weight * reranked.astype(np.float64)
    return total
