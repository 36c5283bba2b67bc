"""Answers with and without reranked passages: is the quotation right more often, and is what is missing still noticed?

    python benchmarks/rerank_ask.py --work FOLDER [--adapter DIR] [--questions 600] [--write]

Questions on SQuAD's development part, put to `ask` on a library of its paragraphs: once as it is, once with the passages
that hold the answer hidden. The weight of the reranker is the one in the package (`rerank.py --write`). The confidence was
fitted without reranking. `--write` lets `ask` rerank by default where the quotation of one sentence is right more often for
certain (95 % interval of the paired difference above 0) and no fewer answers are kept when 5 % of the missing are answered.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import machine
from answer_cases import Shelf, default_embedder, shelf_of
from answer_sets import Question, squad_dev
from answers import covered, figures
from fit_weights import TABLE
from openbook.assistant.answer.ask import ask
from openbook.insight.evaluate.retrieval import difference
from openbook.library.embed.default import default_directory
from openbook.library.embed.pairs import CrossEncoder
from openbook.library.retrieve import reranker
from openbook.library.retrieve.reranker import Wanted
from openbook.library.retrieve.weights import rerank_weights
from openbook.lm.weights import shipped

RESULTS = Path(__file__).parent / "results" / "rerank_ask.json"


class Asked(NamedTuple):
    """(Q,) each: whether the quotation was right, how sure the answer was, and how sure with the passages hidden."""

    right: NDArray[np.float64]
    there: NDArray[np.float64]
    missing: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder in which the library is kept")
    parser.add_argument("--adapter", type=Path, help="none: the one that is shipped")
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="write the default into the package")
    options = parser.parse_args()
    base, embedder, dev = default_directory(), default_embedder(), squad_dev()
    assert base is not None
    encoder = CrossEncoder(base, "auto", options.adapter or shipped(reranker.NAME))
    reranker.shipped_reranker = lambda: encoder  # type: ignore[assignment]
    reranker.why_no_reranker = lambda: ""
    asked = dev.sample(options.questions)
    shelf = shelf_of(dev, options.work, embedder)
    without, reranked = (put(shelf, asked, on) for on in (False, True))
    shelf.close()
    both = {"without": without, "reranked": reranked}
    report: dict[str, Any] = {
        "machine": machine.describe(),
        "weight": rerank_weights(embedder.hash, reranker.NAME).weight,
    }
    for name, one in both.items():
        report[name] = {"right": round(float(one.right.mean()), 4)} | figures(one.there, one.missing)
    gained = difference(reranked.right, without.right)
    report["right: reranked minus without"] = gained._asdict()
    keeps = report["reranked"]["kept at 5 %"] >= report["without"]["kept at 5 %"]
    report["wins"] = bool(gained.low > 0 and keeps)
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in report.items() if key != "machine"}, indent=1))
    if options.write:
        table: dict[str, Any] = json.loads(TABLE.read_text("utf-8"))
        table[embedder.hash][reranker.NAME]["ask"] = report["wins"]
        TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", "utf-8")


def put(shelf: Shelf, asked: Sequence[Question], on: bool) -> Asked:
    wanted = Wanted(on, purpose="ask")
    rows = []
    for question in asked:
        shelf.hide(())
        answer = ask(shelf.store, question.text, max_wrong=1.0, sentences=1, reranking=wanted)
        shelf.hide_answers(question)
        hidden = ask(shelf.store, question.text, max_wrong=1.0, sentences=1, reranking=wanted)
        rows.append((float(covered(question, answer)), answer.confidence, hidden.confidence))
    shelf.hide(())
    return Asked(*np.array(rows).T)


if __name__ == "__main__":
    main()
