"""How sure it is that the passages hold the answer: one calibrated probability, and the point below which to abstain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openbook.assistant.answer.evidence import Evidence
from openbook.assistant.answer.features import COLUMNS
from openbook.assistant.answer.late import LATE_COLUMNS
from openbook.assistant.answer.question import KINDS
from openbook.assistant.answer.scorer import Network, fitted
from openbook.assistant.answer.select import best_window, softmax
from openbook.core.errors import UsageError

Matrix = NDArray[np.float64]

_MOST_OF = (
    "coverage",
    "coverage window",
    "coverage passage",
    "pairs passage",
    "names passage",
    "cosine",
    "dense of passage",
    "fused",
    *LATE_COLUMNS,
)
SUMMARY_COLUMNS = (
    *(f"best sentence: {name}" for name in COLUMNS),
    *(f"highest: {name}" for name in _MOST_OF),
    "score of best",
    "score of all",
    "probability of best",
    "probability of window",
    "score above next passage",
    "passages agree",
    "rarity",
    "terms",
    "known",
    "names asked",
    "fused above second",
    "fused above fifth",
    "bm25 above second",
    "dense above second",
    "dense above mean",
    "best by both",
    "units",
    *(f"asks {kind}" for kind in KINDS),
)


def summary(evidence: Evidence) -> Matrix:
    """(len(SUMMARY_COLUMNS),) what the evidence as a whole looks like; there must be units."""
    features, scores, question = evidence.features, evidence.scores, evidence.question
    probabilities = softmax(scores)
    best = int(np.argmax(scores))
    window = best_window(evidence.units, probabilities, 3)
    places = np.array([unit.hit for unit in evidence.units])
    elsewhere = scores[places != places[best]]
    by_passage = [float(probabilities[places == hit].sum()) for hit in range(int(places.max()) + 1)]
    values = [
        *features[best],
        *(float(features[:, COLUMNS.index(name)].max()) for name in _MOST_OF),
        float(scores[best]),
        float(np.log(np.exp(scores - scores.max()).sum()) + scores.max()),
        float(probabilities[best]),
        window.probability,
        float(scores[best] - elsewhere.max()) if len(elsewhere) else 8.0,
        max(by_passage),
        question.rarity,
        float(np.log(len(question.terms))),
        float(question.shares[question.known].sum()),
        float(question.shares[question.is_name].sum()),
        *_hit_gaps(evidence),
        float(np.log(len(evidence.units))),
        *(float(question.kind == kind) for kind in KINDS),
    ]
    return np.array(values)


def _hit_gaps(evidence: Evidence) -> list[float]:
    """How far the first passage stands above the others, by each list, and whether both lists agree on it."""
    hits = evidence.result.hits
    fused = [float(hit.scores.get("fused") or 0.0) for hit in hits]
    lexical = sorted((float(hit.scores.get("bm25") or 0.0) for hit in hits), reverse=True)
    dense = sorted((float(value) for hit in hits if (value := hit.scores.get("dense")) is not None), reverse=True)
    most = max(lexical[0], 1e-9)
    by_both = bool(dense) and hits[0].scores.get("dense") == dense[0] and hits[0].scores.get("bm25") == lexical[0]
    return [
        fused[0] - fused[1] if len(fused) > 1 else 4.0,
        fused[0] - fused[4] if len(fused) > 4 else 6.0,
        (lexical[0] - lexical[1]) / most if len(lexical) > 1 else 1.0,
        dense[0] - dense[1] if len(dense) > 1 else 0.0,
        dense[0] - float(np.mean(dense)) if dense else 0.0,
        float(by_both),
    ]


def probability(evidence: Evidence) -> float:
    """In (0, 1): of the questions with this figure, the share whose answer is in the library."""
    if not evidence.units:
        return 0.0
    logit = Network.from_json(fitted()[evidence.fit]["confidence"], SUMMARY_COLUMNS)(summary(evidence)[None, :])[0]
    if evidence.read is not None:
        row = fitted()["en-reader"]["confidence"]
        logit = row["network"] * logit + row["margin"] * evidence.read.margins.max() + row["offset"]
    return float(1 / (1 + np.exp(-logit)))


def threshold(fit: str, max_wrong: float) -> float:
    """The confidence below which to abstain, so that of the questions on a subject of the library whose answer is
    missing at most the share `max_wrong` gets an answer. Raises `UsageError` outside 0..1.
    """
    if not 0.0 <= max_wrong <= 1.0:
        raise UsageError(f"max_wrong {max_wrong!r} is no share", "a number from 0 to 1, such as 0.05")
    points = fitted()[fit]["max_wrong"]
    return float(np.interp(max_wrong, points["share"], points["threshold"]))
