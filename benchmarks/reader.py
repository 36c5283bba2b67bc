"""How well the extractive reader reads, and how well it knows that an answer is not there.

    python benchmarks/reader.py [--adapter DIR] [--work FOLDER] [--questions 1500]

Passage given: EM and F1 on SQuAD 1.1's development part, the best span of each paragraph. Open: the six best passages of a
library of all development paragraphs, and the best span of them by the reader's margin. Answerability: AUROC of the margin on
SQuAD 2.0's development part, and the share of answers kept while 5 % of the questions whose passage is hidden get one. No article
of these is in the training part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import machine
from answer_cases import Shelf, default_embedder
from answer_sets import Question, rgb_snippets, squad_dev, squad_train, squad_two
from openbook.core.threads import set_thread_environment
from openbook.insight.evaluate.spans import exact_match, f1
from openbook.library.embed.adapted import open_reader
from openbook.library.embed.default import default_directory
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.search import search
from openbook.lm.reader import Reader, Reading

PASSAGES = 6
RESULTS = Path(__file__).parent / "results" / "reader.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, help="none: the one that is shipped")
    parser.add_argument("--work", type=Path, help="folder in which the libraries are kept between runs")
    parser.add_argument("--questions", type=int, default=1_500, help="of the open questions")
    parser.add_argument("--only", default="given,answerability,open,snippets")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    set_thread_environment()
    reader = opened(options.adapter)
    report: dict[str, Any] = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    report["machine"] = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        parts = {
            "given": lambda: given(reader),
            "answerability": lambda: answerability(reader),
            "open": lambda: open_questions(reader, work, options.questions),
            "snippets": lambda: snippets(reader),
        }
        for name in options.only.split(","):
            began = time.perf_counter()
            report[name] = parts[name]()
            print(f"{name} ({time.perf_counter() - began:.0f} s): {json.dumps(report[name])}", flush=True)
            options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def opened(adapter: Path | None) -> Reader:
    base = default_directory()
    assert base is not None, "needs the default embedder: `openbook setup embedder`"
    if adapter is None:
        from openbook.lm.weights import shipped

        adapter = shipped("reader-en")
    return open_reader(base, adapter)


def given(reader: Reader) -> dict[str, Any]:
    one = squad_dev()
    texts = {p.id: p.text for p in one.paragraphs}
    began = time.perf_counter()
    found = read(reader, [(q.text, texts[q.paragraph]) for q in one.questions])
    seconds = time.perf_counter() - began
    answers = [texts[q.paragraph][r.start : r.end] for q, r in zip(one.questions, found, strict=True)]
    return scored(one.questions, answers) | {"pairs_per_second": round(len(answers) / seconds, 1)}


def read(reader: Reader, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
    return [one for at in range(0, len(pairs), 512) for one in reader.read(pairs[at : at + 512])]


def scored(asked: Sequence[Question], answers: Sequence[str]) -> dict[str, Any]:
    pairs = list(zip(answers, asked, strict=True))
    return {
        "questions": len(asked),
        "exact_match": mean([exact_match(found, question.answers) for found, question in pairs]),
        "f1": mean([f1(found, question.answers) for found, question in pairs]),
    }


def answerability(reader: Reader) -> dict[str, Any]:
    one = squad_two()
    titles = {p.article for p in one.paragraphs}
    assert not titles & {p.article for p in squad_train().paragraphs}, "an article is in the training part"
    texts = {p.id: p.text for p in one.paragraphs}
    found = read(reader, [(q.text, texts[q.paragraph]) for q in one.questions])
    margins = np.array([r.margin for r in found])
    has = np.array([bool(q.spans) for q in one.questions])
    right = [
        exact_match(texts[q.paragraph][r.start : r.end], q.answers) for q, r in zip(one.questions, found, strict=True)
    ]
    return {
        "questions": [int(has.sum()), int((~has).sum())],
        "auroc": auroc(margins[has], margins[~has]),
        "exact_match of answerable": mean([value for value, yes in zip(right, has, strict=True) if yes]),
    }


def open_questions(reader: Reader, work: Path, count: int) -> dict[str, Any]:
    one = squad_dev()
    asked = one.sample(count)
    shelf = Shelf(one.name, one.paragraphs, work, default_embedder())
    there, answers, missing = [], [], []
    for question in asked:
        shelf.hide(())
        text, margin = best(reader, shelf, question.text)
        there.append(margin)
        answers.append(text)
        shelf.hide_answers(question)
        missing.append(best(reader, shelf, question.text)[1])
    shelf.close()
    return scored(asked, answers) | {
        "passages": len(one.paragraphs),
        "passage missing: kept at 5 %": kept(np.array(there), np.array(missing), 0.05),
        "passage missing: kept at 10 %": kept(np.array(there), np.array(missing), 0.10),
        "passage missing: auroc": auroc(np.array(there), np.array(missing)),
    }


def best(reader: Reader, shelf: Shelf, text: str) -> tuple[str, float]:
    """The best span of the passages that a search finds, and its margin."""
    hits = search(shelf.store, text, 10, reranking=Wanted(purpose="ask")).hits[:PASSAGES]
    if not hits:
        return "", float("-inf")
    found = reader.read([(text, hit.text) for hit in hits])
    place = int(np.argmax([one.margin for one in found]))
    return hits[place].text[found[place].start : found[place].end], found[place].margin


def snippets(reader: Reader) -> dict[str, Any]:
    """Data of another kind (RGB, English): web snippets that answer against those of the same question that do not."""
    found = rgb_snippets("en")
    texts = {p.id: p.text for p in found.paragraphs}
    there, missing = [], []
    for question, positive in found.questions:
        pairs = [(question.text, texts[name]) for name in positive if name in texts]
        there.append(max(one.margin for one in read(reader, pairs)) if pairs else float("-inf"))
        others = [text for text in texts.values() if not any(answer in text for answer in question.answers)][:40]
        missing.append(max(one.margin for one in read(reader, [(question.text, text) for text in others])))
    return {"questions": len(there), "auroc": auroc(np.array(there), np.array(missing))}


def kept(there: NDArray[Any], missing: NDArray[Any], wrong: float) -> float:
    return round(float((there > np.quantile(missing, 1 - wrong)).mean()), 4)


def auroc(there: NDArray[Any], missing: NDArray[Any]) -> float:
    return round(float((there[:, None] > missing).mean() + 0.5 * (there[:, None] == missing).mean()), 4)


def mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
