"""Records come one by one from all that a file can be, and what is broken is named by its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import BadData
from openbook.training.data import records as module
from openbook.training.data.records import lying_of, records

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(plain, max_size=6), block=st.integers(1, 40), indent=st.sampled_from([None, 1]))
def test_an_array_is_read_in_blocks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], block: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(" \n" + json.dumps(values, ensure_ascii=False, indent=indent), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        assert [one.value for one in records(path)] == values


@pytest.mark.parametrize(
    ("name", "content", "lying"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', "lines"),
        ("a.json", '{"a": 1}\n{"a": 2}\n', "lines"),
        ("a.json", '[{"a": 1},\n {"a": 2}]', "array"),
        ("a.csv", "a\n1\n2\n", "table"),
        ("a.tsv", "a\n1\n2\n", "table"),
    ],
)
@pytest.mark.parametrize("sign", ["", "\ufeff"])
def test_forms_of_files(tmp_path: Path, name: str, content: str, lying: str, sign: str) -> None:
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress((sign + content).encode()))
    assert lying_of(path) == lying
    assert [int(one.value["a"]) for one in records(path)] == [1, 2]


def test_an_object_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n "data": [1]\n}', "utf-8")
    assert [one.value for one in records(path)] == [{"data": [1]}]


def test_places_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[\n{"a":\n 1},\n\n{"a": 2}, {"a": 3}]', "utf-8")
    assert [one.place.removeprefix(str(path)) for one in records(path)] == [":2", ":5", ":5#2"]


def test_broken_lines_are_named_and_passed_by(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n\xff\xfe\n{"a": 2}\n' + b"[" * 100_000 + b"\n")
    found = list(records(path))
    assert [one.value for one in found] == [{"a": 1}, None, None, {"a": 2}, None]
    assert [one.place[-2:] for one in found if one.reason] == [":2", ":3", ":5"]


@pytest.mark.parametrize("content", ['[{"a": 1}', '[{"a": 1}, {"a"', '[{"a": 1} x', "{", ""])
def test_a_file_that_ends_too_soon(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, "utf-8")
    with pytest.raises(BadData, match=r"a\.json cannot be read"):
        list(records(path))


def test_a_gzip_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 9_999)[:-20])
    with pytest.raises(BadData, match="cannot be read"):
        list(records(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(BadData, match="cannot be read"):
        list(records(path))


def test_a_row_with_too_few_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3\n"4\n4",5\n6,7,8\n', "utf-8")
    assert [bool(one.reason) for one in records(path)] == [False, True, False, True]
