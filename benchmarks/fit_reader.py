"""Fits how much the shipped reader counts in `openbook ask`, and says whether `ask` is better with it than without.

    python benchmarks/fit_reader.py --work FOLDER [--adapter DIR] [--questions 1200]

Four numbers: the weight of a sentence's margin beside its score, and a logistic regression of the confidence on what it was
before and on the highest margin. They and the thresholds are fitted on SQuAD's development part, from which neither the reader
nor the other networks have learned. What is reported is cross-fitted: each half of the articles (by a checksum of the title) is
judged with the numbers that the other half gives, with and without the reader, as paired differences with bootstrap intervals.
What ships is fitted on both halves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

import machine
from answer_cases import Shelf, default_embedder, labels
from answer_sets import Half, Question, QuestionSet, squad_dev, squad_train
from fit_answers import SHARES, TABLE
from openbook.assistant.answer.confidence import SUMMARY_COLUMNS, summary
from openbook.assistant.answer.evidence import Evidence, unit_scores
from openbook.assistant.answer.reading import read_units
from openbook.assistant.answer.scorer import Network, fitted
from openbook.assistant.answer.select import best_window, softmax
from openbook.core.messages import Embedder
from openbook.insight.evaluate.retrieval import difference
from openbook.library.embed.adapted import open_reader
from openbook.library.embed.default import default_directory
from openbook.lm.reader import Reader
from openbook.lm.weights import shipped

RESULTS = Path(__file__).parent / "results" / "ask_reader.json"
WEIGHTS = np.linspace(0.0, 1.0, 41)
KINDS = {"answerable": 0.5, "hard": 0.3, "easy": 0.2}
Floats = NDArray[np.float64]


class Case(NamedTuple):
    """`network`: the logit of the confidence without a reader. labels: (U,), all False where the answer is not there."""

    kind: str
    evidence: Evidence
    labels: NDArray[np.bool_]
    network: float
    margins: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder in which the libraries are kept")
    parser.add_argument("--adapter", type=Path, help="none: the one that is shipped")
    parser.add_argument("--questions", type=int, default=1_200, help="of each half")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="write the numbers into the package")
    options = parser.parse_args()
    base = default_directory()
    assert base is not None, "needs the default embedder: `openbook setup embedder`"
    reader = open_reader(base, options.adapter or shipped("reader-en"))
    embedder, dev = default_embedder(), squad_dev()
    strangers = squad_train().of_articles(squad_train().articles()[200:260], "strangers").sample(options.questions // 3)
    halves: dict[Half, list[Case]] = {}
    for name in get_args(Half):
        asked = QuestionSet("", [], dev.asked_in(name)).sample(options.questions)
        halves[name] = cases_of(dev, asked, strangers, reader, options.work, embedder)
    row = fit([one for cases in halves.values() for one in cases])
    rows = {"report": fit(halves["fit"]), "fit": fit(halves["report"])}
    report = {"machine": machine.describe(), "fitted": row} | judged([(halves[name], rows[name]) for name in halves])
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in report.items() if key != "machine"}, indent=1))
    if options.write:
        table: dict[str, Any] = json.loads(TABLE.read_text("utf-8")) | {"en-reader": row}
        TABLE.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


def cases_of(
    one: QuestionSet,
    asked: Sequence[Question],
    strangers: Sequence[Question],
    reader: Reader,
    work: Path,
    embedder: Embedder,
) -> list[Case]:
    shelf = Shelf(one.name, one.paragraphs, work, embedder)
    found = []
    for question in asked:
        shelf.hide(())
        evidence = shelf.evidence(question.text)
        found.append(case("answerable", question.text, evidence, labels(question, evidence), reader))
        shelf.hide_answers(question)
        evidence = shelf.evidence(question.text)
        found.append(case("hard", question.text, evidence, np.zeros(len(evidence.units), bool), reader))
    shelf.hide(())
    for question in strangers:
        evidence = shelf.evidence(question.text)
        found.append(case("easy", question.text, evidence, np.zeros(len(evidence.units), bool), reader))
    shelf.close()
    return [one for one in found if one.evidence.units]


def case(kind: str, text: str, evidence: Evidence, right: NDArray[np.bool_], reader: Reader) -> Case:
    if not evidence.units:
        return Case(kind, evidence, right, 0.0, np.zeros(0))
    scored = replace(evidence, scores=unit_scores(evidence.features, evidence.fit))
    network = Network.from_json(fitted()[evidence.fit]["confidence"], SUMMARY_COLUMNS)(summary(scored)[None, :])[0]
    read = read_units(reader, text, evidence.result.hits, evidence.units)
    return Case(kind, scored, right, float(network), read.margins)


def fit(cases: Sequence[Case]) -> dict[str, Any]:
    """The weight that makes the right sentence likeliest; the confidence, and the thresholds for each share of wrong ones."""
    there = [one for one in cases if one.labels.any()]
    losses = [
        np.mean([-np.log(softmax(one.evidence.scores + w * one.margins)[one.labels].sum()) for one in there])
        for w in WEIGHTS
    ]
    network, margin, offset = logistic(cases)
    p = confidences(cases, network, margin, offset)
    hard = p[kinds(cases) == "hard"]
    thresholds = [round(float(np.quantile(hard, 1 - share)), 5) for share in SHARES]
    thresholds[-1] = 0.0
    return {
        "sentences": round(float(WEIGHTS[int(np.argmin(losses))]), 4),
        "confidence": {"network": round(network, 4), "margin": round(margin, 4), "offset": round(offset, 4)},
        "max_wrong": {"share": list(SHARES), "threshold": thresholds},
    }


def logistic(cases: Sequence[Case]) -> tuple[float, float, float]:
    """By Newton's method, with the weights of the kinds."""
    x = np.array([[one.network, one.margins.max(), 1.0] for one in cases])  # (C, 3)
    names = kinds(cases)
    truth = names == "answerable"
    weight = np.array([KINDS[name] / (names == name).sum() for name in names]) * len(cases)
    found = np.array([1.0, 0.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ found))
        hessian = (x.T * (weight * p * (1 - p))) @ x + 1e-4 * np.eye(3)
        found = found - np.linalg.solve(hessian, x.T @ (weight * (p - truth)))
    return float(found[0]), float(found[1]), float(found[2])


def judged(halves: Sequence[tuple[Sequence[Case], dict[str, Any]]]) -> dict[str, Any]:
    """Of all cases together, those of each half with its own numbers."""
    there = [(one, row) for cases, row in halves for one in cases if one.kind == "answerable"]
    report: dict[str, Any] = {"questions": len(there)}
    for sentences in (3, 1):
        without = np.array([is_right(one, one.evidence.scores, sentences) for one, _ in there], float)
        weighed = [(one, one.evidence.scores + row["sentences"] * one.margins) for one, row in there]
        with_it = np.array([is_right(one, new, sentences) for one, new in weighed], float)
        report[f"{sentences} sentence{'s' * (sentences > 1)}"] = {
            "without": round(float(without.mean()), 4),
            "with": round(float(with_it.mean()), 4),
            "difference": [round(value, 4) for value in difference(with_it, without)[:3]],
        }
    names = np.concatenate([kinds(cases) for cases, _ in halves])
    old = np.array([one.network for cases, _ in halves for one in cases])
    new = np.concatenate([confidences(cases, **row["confidence"]) for cases, row in halves])
    for kind in ("hard", "easy"):
        report[f"answerable against {kind}"] = {
            name: {
                "auroc": auroc(scores[names == "answerable"], scores[names == kind]),
                "kept at 5 %": kept(scores[names == "answerable"], scores[names == kind], 0.05),
                "kept at 10 %": kept(scores[names == "answerable"], scores[names == kind], 0.10),
            }
            for name, scores in (("without", old), ("with", new))
        }
    for share in (0.05, 0.10):
        points = [np.interp(share, row["max_wrong"]["share"], row["max_wrong"]["threshold"]) for _, row in halves]
        least = np.concatenate([np.full(len(cases), point) for (cases, _), point in zip(halves, points, strict=True)])
        report[f"answered with --max-wrong {share}"] = {
            kind: round(float((new >= least)[names == kind].mean()), 4) for kind in ("answerable", "hard", "easy")
        }
    return report


def is_right(one: Case, scores: Floats, sentences: int) -> bool:
    """The quotation holds an annotated span."""
    window = best_window(one.evidence.units, softmax(scores), sentences)
    return bool(one.labels[window.first : window.last + 1].any())


def confidences(cases: Sequence[Case], network: float, margin: float, offset: float) -> Floats:
    logits = np.array([network * one.network + margin * one.margins.max() + offset for one in cases])
    found: Floats = 1 / (1 + np.exp(-logits))
    return found


def kinds(cases: Sequence[Case]) -> NDArray[np.str_]:
    return np.array([one.kind for one in cases])


def kept(there: Floats, missing: Floats, wrong: float) -> float:
    return round(float((there > np.quantile(missing, 1 - wrong)).mean()), 4)


def auroc(there: Floats, missing: Floats) -> float:
    return round(float((there[:, None] > missing).mean() + 0.5 * (there[:, None] == missing).mean()), 4)


if __name__ == "__main__":
    main()
