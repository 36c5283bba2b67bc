"""Fits the weights of `library/split/relation.py` on the even lines of the labelled pairs and reports all of them.

    python benchmarks/fit_relation.py

Logistic regression by Newton's method. 75 pairs a language are few, so each weight has a Gaussian prior around what the
theory says of its mark (`EXPECTED`: a connective speaks for the relation, a date at the beginning against it, ...).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openbook.library.split.relation import Marks, Paragraph, marks

PAIRS = Path(__file__).resolve().parents[1] / "tests" / "library" / "split" / "data"
SPREAD = 0.3
EXPECTED = Marks(
    connective=2.5,
    anaphor=2.5,
    addition=1.0,
    time=-1.0,
    opened=1.5,
    asked=2.5,
    run=2.5,
    rule=-3.0,
    theme=1.0,
    repeated=2.0,
    names=2.0,
    near=1.0,
    shared=2.0,
)


def main() -> None:
    for language in ("en", "zh"):
        x, y = read(language)
        tuning = np.arange(len(y)) % 2 == 0
        usable = x[:, -1] > 0  # pairs under one heading; others are boundaries before any weight
        weights = fit(x[tuning & usable, :-1], y[tuning & usable])
        decided = usable & (x[:, :-1] @ weights >= 0)
        print(language, "(" + ", ".join(f"{weight:.2f}" for weight in weights) + ")")
        for name, value in zip(("bias", *Marks._fields), weights, strict=True):
            print(f"  {name:10} {value:6.2f}")
        for name, part in (("tuning", tuning), ("held out", ~tuning), ("all", tuning | True)):
            print(
                f"  {name:8} merge F1 {f1(decided[part], y[part]):.3f}  boundary F1 {f1(~decided[part], ~y[part]):.3f}"
            )


def read(language: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N, 1 + marks + 1): one, the marks, and whether the headings are the same; (N,) labels."""
    rows, labels = [], []
    for line in (PAIRS / f"{language}.jsonl").read_text("utf-8").splitlines():
        pair = json.loads(line)
        left = Paragraph(pair["left"], pair["kind_left"], (pair["heading_left"],))
        right = Paragraph(pair["right"], pair["kind_right"], (pair["heading_right"],))
        same = pair["heading_left"] == pair["heading_right"]
        rows.append([1.0, *marks(left, right), float(same)])
        labels.append(pair["merge"])
    return np.array(rows), np.array(labels)


def fit(x: NDArray[np.float64], y: NDArray[np.bool_]) -> NDArray[np.float64]:
    expected = np.array([0.0, *EXPECTED])
    prior = np.full(x.shape[1], 1 / SPREAD**2)
    prior[0] = 1e-6
    weights = expected.copy()
    share = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))  # both classes weigh the same
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (share * (p - y)) + prior * (weights - expected)
        curvature = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(prior)
        weights -= np.linalg.solve(curvature, gradient)
    return weights


def f1(decided: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    hits = float((decided & true).sum())
    return 2 * hits / float(decided.sum() + true.sum())


if __name__ == "__main__":
    main()
