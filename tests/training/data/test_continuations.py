"""Pairs of passages of one document: what is next is next, what is not is of another paragraph of the same."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from openbook.core.errors import BadData
from openbook.training.data.continuations import SHORT, Writing, choice, read_writings
from openbook.training.data.reading import data_files
from openbook.training.data.receipt import Receipt

WRITING = Writing("w", [[f"P{p} S{s}." for s in range(5)] for p in range(6)])
FLAT = [one for paragraph in WRITING.paragraphs for one in paragraph]


def _sentences(text: str) -> list[str]:
    return [f"{one.strip()}." for one in text.split(".") if one.strip()]


@pytest.mark.parametrize("place", range(5))
def test_the_next_one_follows_and_the_others_do_not(place: int) -> None:
    inside = 0
    for seed in range(200):
        first, following, others = choice(WRITING, place, Random(seed), 3)
        before, after = _sentences(first), _sentences(following)
        assert FLAT[FLAT.index(before[-1]) + 1] == after[0]
        assert 1 <= len(before) <= 6 and 1 <= len(after) <= 6
        begins = [_sentences(one)[0] for one in others]
        assert len({one[1] for one in begins}) == 3
        assert all(int(one[1]) not in (place, place + 1) for one in begins)
        is_inside = before[-1] != f"P{place} S4."
        assert is_inside or all(one.endswith("S0.") for one in begins)
        inside += is_inside
    assert 70 < inside < 130


def test_a_short_document_has_fewer_others_and_a_stranger_is_of_another() -> None:
    other = Writing("o", [["Elsewhere."], ["Elsewhere."], ["Elsewhere."]])
    found = choice(Writing("w", WRITING.paragraphs[:4]), 1, Random(1), 5, [other], strangers=1.0)
    assert len(found.others) == 3 and found.others[-1] == "Elsewhere."


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


def test_short_documents_beside_longer_ones_are_counted_and_named(tmp_path: Path) -> None:
    texts = ["One.\n\nTwo.", "One.\n\nTwo.\n\nThree.", "One."]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    receipt = Receipt()
    assert len(read_writings(data_files([path]), receipt)) == receipt.samples == 1
    assert receipt.dropped == {SHORT: 2}
    assert any("a.jsonl:1" in line and SHORT in line for line in receipt.lines())
