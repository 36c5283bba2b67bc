"""`openbook data mine` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Cli

TEXTS = [
    "The river Aare flows through Bern and joins the Rhine.",
    "The river Rhine flows through Basel to the sea.",
    "The river Limmat flows through Zurich.",
]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def test_negatives_from_a_library(cli: Cli, tmp_path: Path) -> None:
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.txt").write_text(text, "utf-8")
    cli("add", *sorted(tmp_path.glob("*.txt")), "--embedder", "none")
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"query": "which river flows through Bern?", "positive": TEXTS[0]}) + "\n", "utf-8")
    out = tmp_path / "mined.jsonl"
    said = cli("data", "mine", queries, "--mode", "bm25", "--out", out)
    assert "1 queries with 2 negatives" in said
    assert "1 hits left out: the positive's own passage" in said
    (row,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert sorted(row["negatives"]) == sorted(TEXTS[1:])
    found = json.loads(cli("data", "mine", queries, "--mode", "bm25", "--per-query", 1, "--out", out, "--json"))
    assert (found["queries"], found["negatives"]) == (1, 1)
    cli("data", "mine", queries, "--mode", "words", "--out", out, code=2)
    assert "hybrid" in cli.errors
    queries.write_text("no query\n", "utf-8")
    cli("data", "mine", queries, "--out", out, code=2)
    assert "line 1" in cli.errors


def test_squad_makes_its_own_library(cli: Cli, tmp_path: Path) -> None:
    qas = [{"question": "which river flows through Bern?", "answers": [{"text": "Aare"}]}]
    paragraphs = [{"context": text, "qas": qas if not number else []} for number, text in enumerate(TEXTS)]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "Rivers", "paragraphs": paragraphs}]}), "utf-8")
    cli("data", "mine", path, "--out", tmp_path / "mined.jsonl", code=2)
    assert "--library" in cli.errors
    said = cli(
        "data", "mine", path, "--out", tmp_path / "mined.jsonl", "--library", tmp_path / "rivers", "--mode", "bm25"
    )
    assert "1 queries with 2 negatives" in said
