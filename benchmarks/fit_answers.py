"""Fits the networks of the extractive answers and writes them into the package.

    python benchmarks/fit_answers.py --work FOLDER

For each kind of evidence (English with vectors, English by words alone, Chinese by words alone): one network that
scores sentences, one that turns what the evidence looks like into a probability, and the confidence at which the share
of wrongly answered questions is what the user allows. Fitted on 24 articles of SQuAD's training part, asked in their
own library and among all 19,855 paragraphs, and on half of the articles of CMRC2018 and DRCD. Nothing is fitted on an
article that `answers.py` reports on. Thresholds come from questions that the networks had not seen: every article is
left out once in five folds.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from answer_cases import Shelf, default_embedder, labels
from answer_sets import Question, QuestionSet, cmrc, drcd, squad_dev, squad_train
from fit_networks import Fit, fit_choice, fit_probability
from openbook.assistant.answer import scorer
from openbook.assistant.answer.confidence import SUMMARY_COLUMNS, summary
from openbook.assistant.answer.evidence import Evidence
from openbook.assistant.answer.features import COLUMNS
from openbook.core.messages import Embedder
from openbook.library.retrieve.search import Mode

TABLE = Path(scorer.__file__).with_name("weights.json")
ATTRIBUTION = (
    "Numbers fitted on SQuAD 1.1 (CC BY-SA 4.0, Rajpurkar et al.), CMRC2018 (CC BY-SA 4.0, Cui et al.) and DRCD "
    "(CC BY-SA 3.0, Delta Research Center) by benchmarks/fit_answers.py; no text of theirs is in this file."
)
FOLDS = 5
LENT: dict[str, tuple[str, ...]] = {}
"""Fits that take over the answerable questions of others, e.g. {"zh-words": ("en-words",)}. The weights that ship lend
nothing: English questions in the Chinese fit gained .011 on DRCD with one sentence and nothing with three.
"""
SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
HARD, EASY = 0.6, 0.4
"""Of the unanswerable questions: on a subject of the library, of another library."""
Matrix = NDArray[np.float64]


class Case(NamedTuple):
    """`kind`: "answerable", "hard" (its passage is hidden) or "easy" (of another library)."""

    kind: str
    article: str
    evidence: Evidence
    labels: NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """Questions of `asked` put to the library of `shelf`, and those of `strangers`, which it cannot answer."""

    shelf: QuestionSet
    asked: Sequence[Question]
    strangers: Sequence[Question]
    mode: Mode = "hybrid"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder in which the libraries are kept")
    parser.add_argument("--only", default="en,en-words,zh-words", help="the fits to make anew")
    options = parser.parse_args()
    embedder = default_embedder()
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8")) | {"attribution": ATTRIBUTION}
    sources = sources_by_fit()
    for name in options.only.split(","):
        cases = [case for source in sources[name] for case in cases_of(source, options.work, embedder)]
        lent = [
            case
            for source in LENT.get(name, ())
            for one in sources[source]
            for case in cases_of(one, options.work, embedder)
        ]
        print(f"{name}: {len(cases)} cases, {len(lent)} lent", flush=True)
        table[name] = fitted(cases, [case for case in lent if case.kind == "answerable"])
    TABLE.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(f"written to {TABLE.name}")


def sources_by_fit() -> dict[str, list[Source]]:
    train, dev = squad_train(), squad_dev()
    titles = train.articles()
    english = train.of_articles(titles[:24], "squad-train-24")
    strangers = train.of_articles(titles[130:160], "strangers").sample(1_000)
    whole = QuestionSet("squad-19855", dev.paragraphs + train.paragraphs, [])
    two = {one.name: one.half("fit") for one in (cmrc(), drcd())}
    return {
        "en": [
            Source(english, english.sample(2_800), strangers),
            Source(whole, english.sample(1_000), ()),
        ],
        "en-words": [Source(english, english.sample(2_500), strangers, "bm25")],
        "zh-words": [
            Source(two["cmrc"], two["cmrc"].questions, two["drcd"].sample(900)),
            Source(two["drcd"], two["drcd"].questions, two["cmrc"].sample(900)),
        ],
    }


def cases_of(source: Source, work: Path, embedder: Embedder) -> list[Case]:
    shelf = Shelf(source.shelf.name, source.shelf.paragraphs, work, embedder)
    article = {one.id: one.article for one in source.shelf.paragraphs}
    cases = []
    for question in source.asked:
        shelf.hide(())
        evidence = shelf.evidence(question.text, source.mode)
        cases.append(Case("answerable", article[question.paragraph], evidence, labels(question, evidence)))
        shelf.hide_answers(question)
        evidence = shelf.evidence(question.text, source.mode)
        cases.append(Case("hard", article[question.paragraph], evidence, labels(question, evidence)))
    shelf.hide(())
    for question in source.strangers:
        evidence = shelf.evidence(question.text, source.mode)
        cases.append(Case("easy", question.paragraph, evidence, np.zeros(len(evidence.units), bool)))
    shelf.close()
    return [case for case in cases if case.evidence.units]


def fitted(cases: Sequence[Case], lent: Sequence[Case]) -> dict[str, Any]:
    """Both networks on all cases, those of the sentences also on the `lent` ones; thresholds and calibration from the
    cases left out.
    """
    left_out = np.zeros(len(cases))
    fold = np.array([zlib.crc32(case.article.encode()) % FOLDS for case in cases])
    for number in range(FOLDS):
        chosen = [case for case, one in zip(cases, fold, strict=True) if one != number]
        sentences = fit_sentences([*chosen, *lent])
        confidence = fit_confidence(chosen, sentences)
        outside = [case for case, one in zip(cases, fold, strict=True) if one == number]
        left_out[fold == number] = confidence(summaries(outside, sentences))
    sentences = fit_sentences([*cases, *lent])
    confidence = fit_confidence(cases, sentences)
    scale, offset = calibration(left_out, cases)
    points = curve(scale * left_out + offset, cases)
    print("  left out, kept when wrong at most 5 % / 10 %:", kept(left_out, cases, 0.05), kept(left_out, cases, 0.1))
    return {
        "sentences": sentences.to_json(COLUMNS),
        "confidence": confidence.scaled(scale, offset).to_json(SUMMARY_COLUMNS),
        "max_wrong": points,
    }


def fit_sentences(cases: Sequence[Case]) -> Fit:
    chosen = [case for case in cases if case.labels.any()]
    return fit_choice([case.evidence.features for case in chosen], [case.labels for case in chosen])


def fit_confidence(cases: Sequence[Case], sentences: Fit) -> Fit:
    return fit_probability(summaries(cases, sentences), answerable(cases), weights(cases))


def summaries(cases: Sequence[Case], sentences: Fit) -> Matrix:
    """(C, len(SUMMARY_COLUMNS))"""
    return np.array([summary(replace(c.evidence, scores=sentences(c.evidence.features))) for c in cases])


def answerable(cases: Sequence[Case]) -> NDArray[np.bool_]:
    return np.array([case.kind == "answerable" for case in cases])


def weights(cases: Sequence[Case]) -> Matrix:
    """(C,) adding up to C: half of the weight on the answerable, the other half on both kinds of the others."""
    kinds = np.array([case.kind for case in cases])
    share = {"answerable": 0.5, "hard": 0.5 * HARD, "easy": 0.5 * EASY}
    result = np.zeros(len(cases))
    for kind, part in share.items():
        result[kinds == kind] = part / max(1, (kinds == kind).sum())
    return result / result.sum() * len(cases)


def calibration(logits: Matrix, cases: Sequence[Case]) -> tuple[float, float]:
    """Scale and offset of the logits that make them probabilities. Source: Platt (1999)."""
    scale, offset, truth, weight = 1.0, 0.0, answerable(cases), weights(cases)
    for _ in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-(scale * logits + offset)))
        x = np.stack([logits, np.ones(len(logits))])  # (2, C)
        gradient = x @ (weight * (p - truth))
        hessian = (x * (weight * p * (1 - p))) @ x.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale, offset = scale - float(step[0]), offset - float(step[1])
    return scale, offset


def curve(logits: Matrix, cases: Sequence[Case]) -> dict[str, list[float]]:
    """For each share of wrongly answered hard questions, the confidence that lets through no more."""
    hard = np.array([case.kind == "hard" for case in cases])
    p = 1 / (1 + np.exp(-logits[hard]))
    points = [float(np.quantile(p, 1 - share)) for share in SHARES]
    points[-1] = 0.0
    return {"share": list(SHARES), "threshold": [round(point, 5) for point in points]}


def kept(logits: Matrix, cases: Sequence[Case], share: float) -> float:
    hard = np.array([case.kind == "hard" for case in cases])
    return round(float((logits[answerable(cases)] > np.quantile(logits[hard], 1 - share)).mean()), 3)


if __name__ == "__main__":
    main()
