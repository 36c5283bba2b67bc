"""Quality and speed of extractive answers and of abstention, through `ask` on real libraries.

    python benchmarks/answers.py [--work FOLDER] [--questions 1500] [--only speed,languages]

Quotations: a question is right when its quotation covers an annotated span in the paragraph that it was written for;
it must also be at most as many sentences as allowed, as `pysbd` counts English ones and 。！？； part Chinese ones.
"answered": the same with the product's abstention at its default, where an abstention counts as a miss. Abstention:
questions whose passage is there against questions whose passage (and every other that holds the answer) is hidden, and
against questions of other libraries. Articles of these questions were not used to fit anything (see answer_sets.py).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import machine
from answer_cases import Shelf, default_embedder
from answer_sets import (
    Question,
    QuestionSet,
    cmrc,
    drcd,
    other_questions,
    rgb_snippets,
    squad_dev,
    squad_train,
    squad_two,
)
from openbook.assistant.answer.answer import Answer
from openbook.assistant.answer.ask import ask
from openbook.assistant.answer.confidence import threshold
from openbook.core.messages import Embedder
from openbook.library.embed.open import open_embedder

MAX_WRONG = 0.10
Report = dict[str, dict[str, Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    work: Path
    embedder: Embedder
    count: int

    def shelf(self, one: QuestionSet) -> Shelf:
        return Shelf(one.name, one.paragraphs, self.work, self.embedder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder in which the libraries are kept between runs")
    parser.add_argument("--questions", type=int, default=1_500, help="questions of each set, at most")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "answers.json")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    report["machine"] = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(options.work or Path(folder), default_embedder(), options.questions)
        for name in options.only.split(","):
            began = time.perf_counter()
            report[name] = PARTS[name](setting)
            show(name, report[name], time.perf_counter() - began)
            options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


def english_quotations(setting: Setting) -> Report:
    """Among the development paragraphs, and among these and all of the training part."""
    dev, train = squad_dev(), squad_train()
    whole = QuestionSet("squad-19855", dev.paragraphs + train.paragraphs, [])
    asked = dev.sample(setting.count)
    return quotations(setting, dev, asked) | quotations(setting, whole, asked)


def chinese_quotations(setting: Setting) -> Report:
    return {
        row: values
        for one in (cmrc(), drcd())
        for row, values in quotations(setting, one, some(one.asked_in("report"), setting.count)).items()
    }


def quotations(setting: Setting, one: QuestionSet, asked: Sequence[Question]) -> Report:
    """Open retrieval: the quotation covers an annotated span in the gold paragraph."""
    shelf = setting.shelf(one)
    report: Report = {}
    for sentences in (3, 1):
        answers = [ask(shelf.store, q.text, max_wrong=1.0, sentences=sentences) for q in asked]
        report[f"{one.name}, {sentences} sentence{'s' * (sentences > 1)}"] = judged(asked, answers, sentences)
    shelf.close()
    return report


def judged(asked: Sequence[Question], answers: Sequence[Answer], sentences: int) -> dict[str, Any]:
    quotes = [answer.citations[0].quote if answer.citations else "" for answer in answers]
    is_english = not any("\u4e00" <= sign <= "\u9fff" for sign in asked[0].text)
    counts = [sentence_count(quote) if is_english else chinese_count(quote) for quote in quotes]
    covers = np.array([covered(question, answer) for question, answer in zip(asked, answers, strict=True)])
    strict = covers & (np.array(counts) <= sentences)
    answered = np.array(
        [a.confidence >= threshold("en-tokens" if is_english else "zh-words", MAX_WRONG) for a in answers]
    )
    lengths = np.array([len(quote.split()) if is_english else len(quote) for quote in quotes])
    return {
        "questions": len(asked),
        "right": share(strict),
        "right, any number of sentences": share(covers),
        "right and answered": share(strict & answered),
        "answered": share(answered),
        "right of answered": share(strict[answered]),
        "mean length": round(float(lengths.mean()), 1),
        "longest": int(lengths.max()),
        "unit": "words" if is_english else "characters",
    }


def covered(question: Question, answer: Answer) -> bool:
    for citation in answer.citations:
        if citation.path.partition("#")[2] == question.paragraph:
            return any(citation.start <= start and end <= citation.end for start, end in question.spans)
    return False


@cache
def segmenter() -> Any:
    import pysbd

    return pysbd.Segmenter(language="en", clean=False)


def sentence_count(quote: str) -> int:
    """By pysbd; a piece without a word ("]", a lone quotation mark) is none."""
    return sum(any(sign.isalnum() for sign in piece) for piece in segmenter().segment(quote))


def chinese_count(quote: str) -> int:
    """Pieces between 。！？ and ；that hold a word."""
    return sum(any(sign.isalnum() for sign in piece) for piece in re.split("[。！？；]", quote))


def english_abstention(setting: Setting) -> Report:
    """Confidence of answerable questions against that of several kinds of unanswerable ones."""
    dev, train = squad_dev(), squad_train()
    strangers = train.of_articles(train.articles()[200:260], "strangers").sample(setting.count)
    others = {"other articles": [question.text for question in strangers], "Cranfield": other_questions()}
    report = against(setting, dev, dev.sample(setting.count), others)
    return report | written_to_deceive(setting) | snippets(setting, "en")


def chinese_abstention(setting: Setting) -> Report:
    sets = (cmrc(), drcd())
    halves = [some(one.asked_in("report"), setting.count) for one in sets]
    report: Report = {}
    for one, own, other in zip(sets, halves, reversed(halves), strict=True):
        report |= against(setting, one, own, {"another set": [question.text for question in other]})
    return report | snippets(setting, "zh")


def against(setting: Setting, one: QuestionSet, asked: Sequence[Question], others: dict[str, list[str]]) -> Report:
    shelf = setting.shelf(one)
    there = np.array([confidence(shelf, question.text) for question in asked])
    hidden = []
    for question in asked:
        shelf.hide_answers(question)
        hidden.append(confidence(shelf, question.text))
    shelf.hide(())
    hard = np.array(hidden)
    strange = {name: np.array([confidence(shelf, text) for text in texts]) for name, texts in others.items()}
    shelf.close()
    fit = "en-tokens" if one.name.startswith("squad") else "zh-words"
    report: Report = {f"{one.name}: {name}": figures(there, scores) for name, scores in strange.items()}
    report[f"{one.name}: passage missing"] = figures(there, hard) | {
        f"answered with --max-wrong {share_}": {
            "answerable": share(there >= threshold(fit, share_)),  # type: ignore[arg-type]
            "passage missing": share(hard >= threshold(fit, share_)),  # type: ignore[arg-type]
        }
        for share_ in (0.05, 0.10)
    }
    easy = np.concatenate(list(strange.values()))
    report[f"{one.name}: calibration"] = {"expected calibration error": calibration_error(there, hard, easy)}
    return report


def written_to_deceive(setting: Setting) -> Report:
    """SQuAD 2.0: questions on a paragraph, written so that it seems to answer them."""
    one = squad_two()
    shelf = setting.shelf(one)
    asked = one.sample(2 * setting.count)
    scores = np.array([confidence(shelf, question.text) for question in asked])
    is_answerable = np.array([bool(question.spans) for question in asked])
    shelf.close()
    return {"squad2: written to deceive": figures(scores[is_answerable], scores[~is_answerable])}


def snippets(setting: Setting, language: str) -> Report:
    """RGB: web snippets; unanswerable are its questions when the positive snippets are hidden."""
    found = rgb_snippets(language)
    shelf = Shelf(f"rgb-{language}", found.paragraphs, setting.work, setting.embedder)
    there, hidden = [], []
    for question, positive in found.questions:
        shelf.hide(())
        there.append(confidence(shelf, question.text))
        bearing = {p.id for p in found.paragraphs if any(answer in p.text for answer in question.answers)}
        shelf.hide(positive | bearing)
        hidden.append(confidence(shelf, question.text))
    shelf.close()
    return {f"rgb-{language}: positives hidden": figures(np.array(there), np.array(hidden))}


def languages(setting: Setting) -> Report:
    """Questions in a language that no document is in, with the default operating point."""
    report: Report = {}
    for one, asked in ((squad_dev(), some(cmrc().questions, 400)), (cmrc(), squad_dev().sample(400))):
        shelf = setting.shelf(one)
        answers = [ask(shelf.store, question.text) for question in asked]
        shelf.close()
        name = (
            "Chinese questions, English library"
            if one.name.startswith("squad")
            else "English questions, Chinese library"
        )
        report[name] = {
            "questions": len(asked),
            "abstained": share(np.array([answer.abstained for answer in answers])),
            "said why": share(
                np.array([any("Chinese" in line or "中文" in line for line in answer.warnings) for answer in answers])
            ),
        }
    return report


def speed(setting: Setting) -> Report:
    """Milliseconds of `ask` in a warm process, every sentence embedded anew."""
    plain = Setting(setting.work, open_embedder(None), setting.count)  # type: ignore[arg-type]
    report: Report = {}
    dev, train = squad_dev(), squad_train()
    whole = QuestionSet("squad-19855", dev.paragraphs + train.paragraphs, [])
    for one, asked in ((dev, dev.sample(230)), (whole, dev.sample(230)), (cmrc(), some(cmrc().questions, 230))):
        shelf = plain.shelf(one)
        spent = []
        for question in asked:
            began = time.perf_counter()
            ask(shelf.store, question.text)
            spent.append((time.perf_counter() - began) * 1000)
        shelf.close()
        p50, p95 = np.percentile(spent[30:], [50, 95])
        report[one.name] = {"questions": 200, "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}
    return report


def confidence(shelf: Shelf, text: str) -> float:
    return ask(shelf.store, text, max_wrong=1.0, sentences=1).confidence


def figures(there: Floats, missing: Floats) -> dict[str, Any]:
    """Share of the answerable that is answered when 5 % (10 %) of the others are, and the area under the curve."""
    return {
        "questions": [len(there), len(missing)],
        "kept at 5 %": share(there > np.quantile(missing, 0.95)),
        "kept at 10 %": share(there > np.quantile(missing, 0.90)),
        "auroc": round(float((there[:, None] > missing).mean() + 0.5 * (there[:, None] == missing).mean()), 4),
    }


def calibration_error(there: Floats, hard: Floats, easy: Floats, bins: int = 10) -> float:
    """Expected calibration error over tenths, half of the weight answerable, 30 % hard, 20 % easy: the fitted mixture."""
    p = np.concatenate([there, hard, easy])
    truth = np.concatenate([np.ones(len(there)), np.zeros(len(hard) + len(easy))])
    parts = ((there, 0.5), (hard, 0.3), (easy, 0.2))
    weight = np.concatenate([np.full(len(part), mass / len(part)) for part, mass in parts])
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(float((weight * (p - truth))[place == one].sum())) for one in range(bins)]
    return round(sum(gaps), 4)


def some(questions: Sequence[Question], count: int) -> list[Question]:
    return QuestionSet("", [], list(questions)).sample(count)


def share(facts: NDArray[np.bool_]) -> float:
    return round(float(np.mean(facts)), 4)


def show(name: str, report: Report, seconds: float) -> None:
    print(f"\n{name} ({seconds:.0f} s)")
    for row, values in report.items():
        print(f"  {row}")
        for key, value in values.items():
            print(f"      {key:<40} {value}")


PARTS: dict[str, Callable[[Setting], Report]] = {
    "english_quotations": english_quotations,
    "chinese_quotations": chinese_quotations,
    "english_abstention": english_abstention,
    "chinese_abstention": chinese_abstention,
    "languages": languages,
    "speed": speed,
}


if __name__ == "__main__":
    main()
