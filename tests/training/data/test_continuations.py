"""Pairs of passages of one document: what is next is next, what is not is of another paragraph of the same."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from openbook.core.errors import BadData
from openbook.training.data.continuations import IS_NEXT, Writing, continuation, read_writings
from openbook.training.data.reading import data_files
from openbook.training.data.receipt import Receipt

WRITING = Writing("w", [[f"P{p} S{s}." for s in range(5)] for p in range(6)])
FLAT = [one for paragraph in WRITING.paragraphs for one in paragraph]


def _sentences(text: str) -> list[str]:
    return [f"{one.strip()}." for one in text.split(".") if one.strip()]


@pytest.mark.parametrize("place", range(5))
def test_half_follow_and_half_do_not(place: int) -> None:
    labels = []
    for seed in range(200):
        first, second, label = continuation(WRITING, place, Random(seed))
        before, after = _sentences(first), _sentences(second)
        follows = FLAT[FLAT.index(before[-1]) + 1] == after[0]
        assert follows == (label == IS_NEXT)
        assert 1 <= len(before) <= 4 and 1 <= len(after) <= 4
        if label != IS_NEXT:
            assert int(after[0][1]) not in (place, place + 1)
        labels.append(label)
    assert 70 < sum(labels) < 130


def _read(path: Path) -> list[Writing]:
    return read_writings(data_files([path]), Receipt())


def test_files_rows_and_articles_are_documents(tmp_path: Path) -> None:
    text = "One. Two.\n\nThree.\n\nFour."
    (tmp_path / "a.txt").write_text(text, "utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": text}) + "\n", "utf-8")
    passages = [{"context": one, "qas": [{"question": "?", "answers": []}] * 2} for one in text.split("\n\n")]
    (tmp_path / "c.json").write_text(json.dumps({"data": [{"title": "C", "paragraphs": passages}]}), "utf-8")
    for name in ("a.txt", "b.jsonl", "c.json"):
        (found,) = _read(tmp_path / name)
        assert found.paragraphs == [["One.", "Two."], ["Three."], ["Four."]]


def test_short_documents_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo.", "utf-8")
    with pytest.raises(BadData, match="three paragraphs"):
        _read(tmp_path / "a.txt")
