"""The three splitters: is the answer's span among the first 1,000 tokens that are retrieved, whole articles as documents?

    python benchmarks/splitting.py [--questions 600] [--sets squad,cmrc] [--json benchmarks/results/splitting.json]

SQuAD: the 20 articles of the development part, their paragraphs in order. CMRC2018 has no articles: 20 of its
paragraphs, drawn at random, are a document. A question counts when one of its answers, at its place in its own paragraph, lies
within what is retrieved: passages in the order of the search, cut off after 1,000 tokens of the embedder. Intervals
are 95 % of 2,000 bootstrap samples of the questions; differences are paired. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import machine
from datasets import data_folder, read_json

BUDGET = 1000
SPLITTERS = ("recursive", "discourse", "semantic")
SIZES = (192, 384)
OTHERS = (96,)
"""For the recursive splitter alone: the choice of the default, and whether many tiny chunks lose answers."""
FILES = {"squad": "squad/squad_v1.1_dev_part.json.gz", "cmrc": "cmrc2018/cmrc2018_dev.json.gz"}


@dataclass(frozen=True)
class Question:
    """`spans`: (start, end) of each answer in the document with that path."""

    id: str
    text: str
    document: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Article:
    id: str
    title: str
    text: str


def read(name: str, limit: int) -> tuple[list[Article], list[Question]]:
    """The articles of a set, and `limit` of its questions, drawn by a checksum of their ids."""
    groups = [(a["title"].replace("_", " "), a["paragraphs"]) for a in read_json(data_folder() / FILES[name])["data"]]
    if name == "cmrc":
        paragraphs = [paragraph for _, one in groups for paragraph in one]
        random.Random(20).shuffle(paragraphs)
        groups = [("", paragraphs[place : place + 20]) for place in range(0, len(paragraphs), 20)]
    articles, questions = [], []
    for number, (title, paragraphs) in enumerate(groups):
        identity, text = f"{name}-{number}", ""
        for paragraph in paragraphs:
            offset = len(text)
            text += paragraph["context"] + "\n\n"
            for asked in paragraph["qas"]:
                found = {
                    (offset + a["answer_start"], offset + a["answer_start"] + len(a["text"])) for a in asked["answers"]
                }
                spans = tuple((start, end) for start, end in sorted(found) if start >= offset)
                if spans:
                    questions.append(Question(str(asked["id"]), asked["question"].strip(), identity, spans))
        articles.append(Article(identity, title, text.rstrip()))
    questions.sort(key=lambda question: zlib.crc32(question.id.encode()))
    return articles, questions[:limit]


def recalled(
    articles: list[Article], questions: list[Question], splitter: str, size: int
) -> tuple[NDArray[np.float64], int]:
    """1 for each question whose answer is retrieved, else 0; and how many chunks there are."""
    from openbook.assistant.desk import Library
    from openbook.library.split.settings import SplitSettings

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        rows = ({"id": one.id, "title": one.title, "text": one.text} for one in articles)
        corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        settings = SplitSettings.model_validate({"splitter": splitter, "chunk_tokens": size})
        with Library.open(Path(folder) / "library", split=settings) as library:
            report = library.add(corpus, records=True)
            assert not report.failures, report.failures[:3]
            embedder = library.store.embedder()
            assert embedder is not None
            counter = embedder.tokens
            found = [float(within(library.search(q.text, 50), q, counter)) for q in questions]
            with library.store.catalogue.read() as connection:
                ((chunks,),) = connection.execute("SELECT count(*) FROM chunks").fetchall()
    return np.array(found), int(chunks)


def within(hits: list[Any], question: Question, counter: Any) -> bool:
    """Whether an answer lies in the first `BUDGET` tokens of the hits."""
    left = BUDGET
    for hit in hits:
        tokens = counter.spans(hit.text)
        end = hit.end if len(tokens) <= left else hit.start + tokens[left][0]
        inside = any(hit.start <= start and stop <= end for start, stop in question.spans)
        if inside and hit.path.endswith(f"#{question.document}"):
            return True
        left -= len(tokens)
        if left <= 0:
            return False
    return False


def interval(values: NDArray[np.float64]) -> dict[str, float]:
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return {"mean": round(float(values.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def measure(name: str, limit: int) -> dict[str, Any]:
    articles, questions = read(name, limit)
    report: dict[str, Any] = {"documents": len(articles), "questions": len(questions), "chunk_tokens": {}}
    for size in sorted((*OTHERS, *SIZES)):
        runs: dict[str, NDArray[np.float64]] = {}
        row = report["chunk_tokens"][str(size)] = {}
        for splitter in SPLITTERS if size in SIZES else SPLITTERS[:1]:
            runs[splitter], chunks = recalled(articles, questions, splitter, size)
            row[splitter] = {"chunks": chunks, "recall": interval(runs[splitter])}
            if splitter != "recursive":
                row[splitter]["minus recursive"] = interval(runs[splitter] - runs["recursive"])
            print(name, size, splitter, row[splitter], flush=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--sets", default=",".join(FILES))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "splitting.json")
    options = parser.parse_args()
    report = {"machine": machine.describe(), "budget_tokens": BUDGET}
    report |= {name: measure(name, options.questions) for name in options.sets.split(",")}
    options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print_table(report)


def print_table(report: dict[str, Any]) -> None:
    for name in FILES:
        for size, row in report.get(name, {}).get("chunk_tokens", {}).items():
            for splitter, one in row.items():
                r, d = one["recall"], one.get("minus recursive")
                gain = f"{d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]" if d else ""
                recall = f"{r['mean']:.3f} [{r['low']:.3f}, {r['high']:.3f}]"
                print(f"{name:6} {size:>4} {splitter:10} {one['chunks']:6} {recall} {gain}")


if __name__ == "__main__":
    main()
