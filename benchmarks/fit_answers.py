"""Fits the networks of the extractive answers and writes them into the package.

    python benchmarks/fit_answers.py --work FOLDER

For each kind of evidence (English with the vectors of sentences and of their tokens, with those of sentences only,
English by words alone, Chinese by words alone): one network that scores sentences, one that turns what the evidence
looks like into a probability, and the confidence at which the share of wrongly answered questions is what the user
allows. Fitted on 24 articles of SQuAD's training part, asked in their own library and among all 19,855 paragraphs, and
on half of the articles of CMRC2018 and DRCD, each in a library of its own, all in one, and in small ones of two dozen
paragraphs. Nothing is fitted on an
article that `answers.py` reports on. Thresholds come from questions that the networks had not seen: every article is
left out once in five folds.

Unanswerable are questions whose passages are hidden ("hard"), questions of another library ("easy"), and, so that the
confidence learns to read closely, those whose answering sentences are taken out of passages that stay ("near") and
those in which a name or number is exchanged for another one of the same article ("swapped").
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
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
from openbook.assistant.answer.features import COLUMNS, WORD_COLUMNS
from openbook.core.messages import Embedder
from openbook.library.retrieve.search import Mode

TABLE = Path(scorer.__file__).with_name("weights.json")
ATTRIBUTION = (
    "Numbers fitted on SQuAD 1.1 (CC BY-SA 4.0, Rajpurkar et al.), CMRC2018 (CC BY-SA 4.0, Cui et al.) and DRCD "
    "(CC BY-SA 3.0, Delta Research Center) by benchmarks/fit_answers.py; no text of theirs is in this file."
)
FOLDS = 5
HIDDEN = {"en-words": 32, "zh-words": 64}
"""Hidden units of a sentence network, 32 where not named: Chinese has no vectors to lean on."""
CLOSE = {"hard": 0.5, "easy": 0.3, "near": 0.1, "swapped": 0.1}
PLAIN = {"hard": 0.6, "easy": 0.4}
MIXTURE = {"en-tokens": CLOSE, "en-vectors": CLOSE, "en-words": CLOSE, "zh-words": PLAIN}
"""Weights of the kinds of unanswerable questions in each fit of the confidence. By Chinese words alone a near miss looks
like an answer: with such cases the confidence fell for the answerable questions of short documents.
"""
IN_EACH_LIBRARY = ("zh-words",)
"""Fits whose thresholds keep what the user allows in each library by itself, not only in all together: CMRC2018 and DRCD
are unlike, and thresholds between them had let through more than was allowed when `answers.py` reported on them.
"""
LENT: dict[str, tuple[str, ...]] = {"zh-words": ("en-words",)}
"""Fits that take over the answerable questions of others: which words count is much the same in both languages, and of
Chinese questions there are few. Measured on articles left out: DRCD +.001 with three sentences, +.004 with one.
"""
SHARES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
Matrix = NDArray[np.float64]


class Case(NamedTuple):
    """`kind`: "answerable", or one of the kinds of `MIXTURE`."""

    kind: str
    library: str
    article: str
    evidence: Evidence
    labels: NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """Questions of `asked` put to the library of `shelf`, and those of `strangers`, which it cannot answer. `size`: to a
    library of only so many of its paragraphs, other ones for each question.
    """

    shelf: QuestionSet
    asked: Sequence[Question]
    strangers: Sequence[Question]
    mode: Mode = "hybrid"
    size: int | None = None

    @property
    def library(self) -> str:
        return self.shelf.name if self.size is None else f"{self.shelf.name}, {self.size} paragraphs"

    def paragraphs_for(self, question: Question) -> list[str]:
        """Of a small library: the question's own paragraph, some of its article, and some of any."""
        assert self.size is not None
        draw = {one.id: zlib.crc32(f"{question.id} {one.id}".encode()) for one in self.shelf.paragraphs}
        article = next((one.article for one in self.shelf.paragraphs if one.id == question.paragraph), None)
        same = sorted((one.id for one in self.shelf.paragraphs if one.article == article), key=draw.__getitem__)
        chosen = dict.fromkeys([*([question.paragraph] if article else []), *same[: self.size // 3]])
        chosen |= dict.fromkeys(sorted(draw, key=draw.__getitem__)[: self.size])
        return list(chosen)[: self.size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder in which the libraries are kept")
    parser.add_argument("--only", default="en-tokens,en-vectors,en-words,zh-words", help="the fits to make anew")
    options = parser.parse_args()
    embedder = default_embedder()
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8")) | {"attribution": ATTRIBUTION}
    sources = sources_by_fit()
    cases: list[Case] = []
    for name in options.only.split(","):
        if name != "en-vectors" or not cases:  # those of en-tokens serve again
            cases = [c for source in sources[name] for c in cases_of(source, MIXTURE[name], options.work, embedder)]
        if name == "en-vectors":
            cases = [without_tokens(case) for case in cases]
        lent = [
            case
            for source in LENT.get(name, ())
            for one in sources[source]
            for case in cases_of(one, (), options.work, embedder)
        ]
        print(f"{name}: {len(cases)} cases, {len(lent)} lent", flush=True)
        table[name] = fitted(name, cases, lent)
    TABLE.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(f"written to {TABLE.name}")


def sources_by_fit() -> dict[str, list[Source]]:
    train, dev = squad_train(), squad_dev()
    titles = train.articles()
    english = train.of_articles(titles[:24], "squad-train-24")
    strangers = train.of_articles(titles[130:160], "strangers").sample(1_000)
    whole = QuestionSet("squad-19855", dev.paragraphs + train.paragraphs, [])
    two = {one.name: one.half("fit") for one in (cmrc(), drcd())}
    both = QuestionSet(
        "zh-both",
        [p for one in two.values() for p in one.paragraphs],
        [q for one in two.values() for q in one.questions],
    )
    with_vectors = [Source(english, english.sample(2_800), strangers), Source(whole, english.sample(1_000), ())]
    return {
        "en-tokens": with_vectors,
        "en-vectors": with_vectors,
        "en-words": [Source(english, english.sample(2_500), strangers, "bm25")],
        "zh-words": [
            Source(two["cmrc"], two["cmrc"].questions, two["drcd"].sample(900)),
            Source(two["drcd"], two["drcd"].questions, two["cmrc"].sample(900)),
            Source(both, both.sample(1_500), ()),
            Source(both, both.sample(2_200)[1_000:], (), size=24),
        ],
    }


def cases_of(source: Source, kinds: Iterable[str], work: Path, embedder: Embedder) -> list[Case]:
    """The answerable questions, and of `kinds` the unanswerable ones that are made of them."""
    shelf = Shelf(source.shelf.name, source.shelf.paragraphs, work, embedder)
    article = {one.id: one.article for one in source.shelf.paragraphs}
    names = names_by_article(source.asked, article)
    cases = []
    for question in source.asked:
        title = article[question.paragraph]
        if source.size is not None:
            shelf.show_only(source.paragraphs_for(question))
        shelf.hide(())
        evidence = shelf.evidence(question.text, source.mode)
        cases.append(Case("answerable", source.library, title, evidence, labels(question, evidence)))
        if "near" in kinds:
            cases += unanswerable("near", source.library, title, shelf.without_answers(question, evidence))
        if "swapped" in kinds and (text := with_another_name(question, names[title])) is not None:
            cases += unanswerable("swapped", source.library, title, shelf.evidence(text, source.mode))
        if "hard" in kinds:
            shelf.hide_answers(question)
            cases += unanswerable("hard", source.library, title, shelf.evidence(question.text, source.mode))
    shelf.hide(())
    for question in source.strangers if "easy" in kinds else ():
        if source.size is not None:
            shelf.show_only(source.paragraphs_for(question))
        cases += unanswerable("easy", source.library, question.paragraph, shelf.evidence(question.text, source.mode))
    shelf.close()
    return [case for case in cases if case.evidence.units]


def unanswerable(kind: str, library: str, article: str, evidence: Evidence) -> list[Case]:
    return [Case(kind, library, article, evidence, np.zeros(len(evidence.units), bool))]


def without_tokens(case: Case) -> Case:
    """As another embedder would see it, which does not show the vectors of its tokens."""
    features = case.evidence.features.copy()
    features[:, len(WORD_COLUMNS) :] = 0.0
    return case._replace(evidence=replace(case.evidence, features=features))


_NAME = re.compile(r"(?<![.?!:]\s)(?<!^)\b[A-Z][\w'’-]*|\b\d{2,4}\b|[\d〇一二三四五六七八九十]+(?=年)")


def names_by_article(asked: Sequence[Question], article: Mapping[str, str]) -> dict[str, list[str]]:
    """The names and numbers in the questions on each article."""
    names: dict[str, set[str]] = {}
    for question in asked:
        names.setdefault(article[question.paragraph], set()).update(_NAME.findall(question.text))
    return {title: sorted(found) for title, found in names.items()}


def with_another_name(question: Question, names: Sequence[str]) -> str | None:
    """The question with one of its names exchanged for another of the article, a number for a number; None without."""
    places = list(_NAME.finditer(question.text))
    draw = zlib.crc32(question.id.encode())
    if not places:
        return None
    place = places[draw % len(places)]
    is_number = place[0][0].isnumeric()
    others = [name for name in names if name[0].isnumeric() == is_number and name not in question.text]
    if not others:
        return None
    return question.text[: place.start()] + others[(draw >> 8) % len(others)] + question.text[place.end() :]


def fitted(name: str, cases: Sequence[Case], lent: Sequence[Case]) -> dict[str, Any]:
    """Both networks on all cases, those of the sentences also on the `lent` ones; thresholds and calibration from the
    cases left out.
    """
    hidden, mixture = HIDDEN.get(name, 32), MIXTURE[name]
    left_out = np.zeros(len(cases))
    fold = np.array([zlib.crc32(case.article.encode()) % FOLDS for case in cases])
    for number in range(FOLDS):
        chosen = [case for case, one in zip(cases, fold, strict=True) if one != number]
        sentences = fit_sentences([*chosen, *lent], hidden)
        confidence = fit_confidence(chosen, sentences, mixture)
        outside = [case for case, one in zip(cases, fold, strict=True) if one == number]
        left_out[fold == number] = confidence(summaries(outside, sentences))
    sentences = fit_sentences([*cases, *lent], hidden)
    confidence = fit_confidence(cases, sentences, mixture)
    scale, offset = calibration(left_out, cases, mixture)
    points = curve(scale * left_out + offset, cases, name in IN_EACH_LIBRARY)
    print("  left out, kept when wrong at most 5 % / 10 %:", kept(left_out, cases, 0.05), kept(left_out, cases, 0.1))
    return {
        "sentences": sentences.to_json(COLUMNS),
        "confidence": confidence.scaled(scale, offset).to_json(SUMMARY_COLUMNS),
        "max_wrong": points,
    }


def fit_sentences(cases: Sequence[Case], hidden: int) -> Fit:
    chosen = [case for case in cases if case.labels.any()]
    return fit_choice([case.evidence.features for case in chosen], [case.labels for case in chosen], hidden)


def fit_confidence(cases: Sequence[Case], sentences: Fit, mixture: Mapping[str, float]) -> Fit:
    return fit_probability(summaries(cases, sentences), answerable(cases), weights(cases, mixture))


def summaries(cases: Sequence[Case], sentences: Fit) -> Matrix:
    """(C, len(SUMMARY_COLUMNS))"""
    return np.array([summary(replace(c.evidence, scores=sentences(c.evidence.features))) for c in cases])


def answerable(cases: Sequence[Case]) -> NDArray[np.bool_]:
    return np.array([case.kind == "answerable" for case in cases])


def weights(cases: Sequence[Case], mixture: Mapping[str, float]) -> Matrix:
    """(C,) adding up to C: half of the weight on the answerable, the other half on the others by `mixture`."""
    kinds = np.array([case.kind for case in cases])
    share = {"answerable": 0.5} | {kind: 0.5 * part for kind, part in mixture.items()}
    result = np.zeros(len(cases))
    for kind, part in share.items():
        result[kinds == kind] = part / max(1, (kinds == kind).sum())
    return result / result.sum() * len(cases)


def calibration(logits: Matrix, cases: Sequence[Case], mixture: Mapping[str, float]) -> tuple[float, float]:
    """Scale and offset of the logits that make them probabilities. Source: Platt (1999)."""
    scale, offset, truth, weight = 1.0, 0.0, answerable(cases), weights(cases, mixture)
    for _ in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-(scale * logits + offset)))
        x = np.stack([logits, np.ones(len(logits))])  # (2, C)
        gradient = x @ (weight * (p - truth))
        hessian = (x * (weight * p * (1 - p))) @ x.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale, offset = scale - float(step[0]), offset - float(step[1])
    return scale, offset


def curve(logits: Matrix, cases: Sequence[Case], in_each: bool) -> dict[str, list[float]]:
    """For each share of wrongly answered hard questions, the confidence that lets through no more."""
    p = 1 / (1 + np.exp(-logits))
    hard = np.array([case.library if case.kind == "hard" else "" for case in cases])
    libraries = [hard == name for name in sorted(set(hard) - {""})] if in_each else [hard != ""]
    points = [max(float(np.quantile(p[chosen], 1 - share)) for chosen in libraries) for share in SHARES]
    points[-1] = 0.0
    return {"share": list(SHARES), "threshold": [round(point, 5) for point in points]}


def kept(logits: Matrix, cases: Sequence[Case], share: float) -> float:
    hard = np.array([case.kind == "hard" for case in cases])
    return round(float((logits[answerable(cases)] > np.quantile(logits[hard], 1 - share)).mean()), 3)


if __name__ == "__main__":
    main()
