"""Files of queries with their passages: what is read, counted and refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from openbook.core.errors import BadData
from openbook.training.data.groups import Group, read_groups, shared_titles
from openbook.training.data.receipt import MAX_BROKEN

GOOD = {"query": "when?", "positive": "in May", "negatives": ["in Rome"], "title": "Months", "answers": ["May"]}


def test_rows_are_read_with_what_they_have(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps({"query": "where?", "positive": "in Rome"}) + "\n", "utf-8")
    found = read_groups([path])
    assert found.rows == [Group("when?", "in May", ("in Rome",), "Months"), Group("where?", "in Rome")]
    assert found.rows[0].negatives[0] is found.rows[1].positive
    assert str(found) == "2 queries with 1 negatives"


def test_each_positive_of_a_row_is_a_group(tmp_path: Path) -> None:
    """As other tools write them, and `openbook data convert --to pairs`."""
    path = tmp_path / "rows.jsonl"
    rows = [
        {"query": "when?", "positives": ["in May", "in spring"], "negatives": ["in Rome"]},
        {"query": "a", "pos": ["b"], "neg": "c"},
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    assert read_groups([path]).rows == [
        Group("when?", "in May", ("in Rome",)),
        Group("when?", "in spring", ("in Rome",)),
        Group("a", "b", ("c",)),
    ]


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert len(read_groups([path]).rows) == 1


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "3", '{"query": "a"}', '{"query": "", "positive": "b"}', '{"query": "a", "positive": "b", "negatives": [3]}',
     '{"query": "a", "positives": []}', '{"query": "a", "positive": "b", "negatives": {"c": 1}}', "[" * 100_000],
)  # fmt: skip
def test_a_line_that_is_no_group_is_counted_and_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n", "utf-8")
    found = read_groups([path], max_broken=0.5)
    assert (len(found.rows), found.receipt.rows, found.receipt.broken) == (1, 2, 1)
    assert "rows.jsonl:2" in str(found)


def test_a_larger_share_than_allowed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") * 97 + "{\n" * 3, "utf-8")
    with pytest.raises(BadData, match=r"3 of 100 rows are broken; first rows.jsonl:98"):
        read_groups([path])
    assert len(read_groups([path], max_broken=0.03).rows) == 97
    with pytest.raises(BadData, match="3 of 100"):
        read_groups([path], max_broken=0.02)


def test_too_many_are_refused_whatever_share_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") + "{\n" * (MAX_BROKEN + 1), "utf-8")
    with pytest.raises(BadData, match=r"rows.jsonl:2"):
        read_groups([path], max_broken=1.0)


def test_a_file_without_any_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("", "utf-8")
    with pytest.raises(BadData, match="no group"):
        read_groups([path])
    with pytest.raises(BadData, match="cannot be read"):
        read_groups([tmp_path / "none.jsonl"])
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(BadData, match="cannot be read"):
        read_groups([path])


def test_shared_titles_are_those_of_both() -> None:
    first, second = [Group("a", "b", (), "x"), Group("a", "b")], [Group("c", "d", (), "x"), Group("e", "f")]
    assert shared_titles(first, second) == ["x"]
