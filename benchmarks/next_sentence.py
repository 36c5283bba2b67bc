"""The next-sentence model: which of two passages goes on where another ends, and what that is worth to the splitter.

    python benchmarks/next_sentence.py [--adapter DIR] [--choices 2000] [--json benchmarks/results/next_sentence.json]

Choices are drawn from the articles of SQuAD's development part (its titles are asserted to be none that were learned from): a
place between two sentences, all places of an article alike; up to four sentences before it, as many behind it, and as many that
begin in another paragraph of the article, at its beginning where the right ones begin a paragraph and else not. The right passage
should have the higher score. Beside it the cosine of the default embedder, which the semantic splitter asks otherwise.

The splitter's own question, whether a paragraph belongs to the one before: 150 labelled pairs (tests/library/split/data). The
threshold is fitted on even lines, the F1 of merges and of boundaries are those of odd ones. Intervals: 95 % of 2,000 bootstrap
samples, of articles for the choices, of pairs for the neighbours; differences are paired. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import machine
from datasets import data_folder, read_json

SENTENCES, SAMPLES = 4, 2_000
PAIRS = Path(__file__).parents[1] / "tests" / "library" / "split" / "data" / "en.jsonl"
Score = Callable[[Sequence[tuple[str, str]]], NDArray[np.float32]]
Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """`is_inside`: the place is inside a paragraph."""

    article: str
    first: str
    following: str
    other: str
    is_inside: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--adapter", type=Path, help="learned over the default embedder's encoder; none: the one that is shipped"
    )
    parser.add_argument("--choices", type=int, default=2_000)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "next_sentence.json")
    options = parser.parse_args()
    from openbook.library.embed.default import default_directory
    from openbook.library.embed.open import open_embedder
    from openbook.library.embed.pairs import NextSentence
    from openbook.library.split.similarity import EmbedderSimilarity
    from openbook.lm.weights import shipped

    base = default_directory()
    assert base is not None, "needs the default embedder: openbook setup embedder"
    embedder = open_embedder(None)
    assert embedder is not None
    scorers: dict[str, Score] = {
        "next-sentence": NextSentence(base, "auto", options.adapter or shipped("nsp-en")).score,
        "cosine": EmbedderSimilarity(embedder).score,
    }
    drawn = choices(options.choices)
    report: dict[str, Any] = {"machine": machine.describe(), "choices": chosen(drawn, scorers)}
    report["neighbours"] = neighbours(scorers)
    print(json.dumps(report, indent=1))
    options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def choices(count: int) -> list[Drawn]:
    from openbook.training.data.continuations import read_writings
    from openbook.training.data.reading import data_files
    from openbook.training.data.receipt import Receipt

    folder = data_folder() / "squad"
    held = read_writings(data_files([folder / "squad_v1.1_dev_part.json.gz"], "squad"), Receipt())
    learned = {article["title"] for article in read_json(folder / "squad_v1.1_train.json.gz")["data"]}
    assert not learned & {one.title for one in held}
    random, found = Random(17), []
    while len(found) < count:
        article = random.choice(held)
        paragraphs = article.paragraphs
        places = [(p, cut) for p, own in enumerate(paragraphs) for cut in range(1, len(own) + 1)][:-1]
        place, cut = random.choice(places)
        own = paragraphs[place]
        is_inside = cut < len(own)
        following = own[cut:] if is_inside else paragraphs[place + 1]
        apart = [one for number, one in enumerate(paragraphs) if number not in (place, place + 1)]
        other = random.choice(apart)
        begin = (
            random.randrange(min(1, len(other) - 1), len(other)) if is_inside else 0
        )  # as the right one, no beginning
        parts = own[max(cut - SENTENCES, 0) : cut], following[:SENTENCES], other[begin : begin + SENTENCES]
        found.append(Drawn(article.title, *(" ".join(one) for one in parts), is_inside))
    return found


def chosen(drawn: Sequence[Drawn], scorers: dict[str, Score]) -> dict[str, Any]:
    inside = np.array([one.is_inside for one in drawn])
    articles = np.array([one.article for one in drawn])
    right: dict[str, Floats] = {}
    report: dict[str, Any] = {"count": len(drawn), "inside a paragraph": int(inside.sum())}
    for name, score in scorers.items():
        one = score([(each.first, each.following) for each in drawn])
        other = score([(each.first, each.other) for each in drawn])
        right[name] = (one > other) + 0.5 * (one == other)
        report[name] = {
            "all": interval(right[name], articles),
            "inside a paragraph": interval(right[name][inside], articles[inside]),
            "between two": interval(right[name][~inside], articles[~inside]),
        }
    report["difference"] = interval(right["next-sentence"] - right["cosine"], articles)
    return report


def interval(values: Floats, groups: NDArray[Any]) -> dict[str, float]:
    """The mean, and where 95 % of the means of samples of groups lie."""
    kinds = np.unique(groups)
    sums = np.array([values[groups == one].sum() for one in kinds])
    counts = np.array([(groups == one).sum() for one in kinds])
    draws = np.random.default_rng(3).integers(len(kinds), size=(SAMPLES, len(kinds)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": round(float(values.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def neighbours(scorers: dict[str, Score]) -> dict[str, Any]:
    rows = [json.loads(line) for line in PAIRS.read_text("utf-8").splitlines()]
    labels = np.array([row["merge"] for row in rows])
    even = np.arange(len(rows)) % 2 == 0
    report: dict[str, Any] = {"pairs": int((~even).sum())}
    merges: dict[str, NDArray[np.bool_]] = {}
    for name, score in scorers.items():
        scores = score([(row["left"], row["right"]) for row in rows]).astype(np.float64)
        known = np.unique(scores[even])
        threshold = max(known, key=lambda one: sum(f1(scores[even] >= one, labels[even])))
        merges[name] = scores[~even] >= threshold
        merged, parted = f1(merges[name], labels[~even])
        report[name] = {
            "threshold": round(float(threshold), 4),
            "F1 of merges": round(merged, 3),
            "F1 of boundaries": round(parted, 3),
            "area under the curve, all pairs": round(area(scores, labels), 3),
        }
    draws = np.random.default_rng(3).integers(len(labels[~even]), size=(SAMPLES, int((~even).sum())))
    own, held = merges, labels[~even]
    gains = [sum(f1(own["next-sentence"][d], held[d])) - sum(f1(own["cosine"][d], held[d])) for d in draws]
    low, high = np.quantile(gains, [0.025, 0.975])
    report["sum of both F1, difference"] = {"low": round(float(low), 3), "high": round(float(high), 3)}
    return report


def f1(said: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Of merges, and of boundaries."""
    both = []
    for a, b in ((said, truth), (~said, ~truth)):
        hits = float((a & b).sum())
        both.append(2 * hits / max(float(a.sum() + b.sum()), 1.0))
    return both[0], both[1]


def area(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """How often a merged pair has a higher score than one that is not."""
    yes, no = scores[labels], scores[~labels]
    return float(((yes[:, None] > no) + 0.5 * (yes[:, None] == no)).mean())


if __name__ == "__main__":
    main()
