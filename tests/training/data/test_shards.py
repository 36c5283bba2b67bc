"""Samples come back as they were written, and a folder that is half there is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import BadData
from openbook.training.data.shards import Sample, Shards, write_shards

samples = st.lists(st.lists(st.tuples(st.integers(0, 70_000), st.booleans()), min_size=1, max_size=9), max_size=6)


@given(given=samples)
def test_samples_come_back(tmp_path_factory: pytest.TempPathFactory, given: list[list[tuple[int, bool]]]) -> None:
    folder = tmp_path_factory.mktemp("shards") / "made"
    wanted = [Sample([token for token, _ in one], [learned for _, learned in one]) for one in given]
    write_shards(wanted, folder, 70_001, {"from": "here"})
    found = Shards(folder)
    assert [(found.ids(i).tolist(), found.learned(i).tolist()) for i in range(len(found))] == given_pairs(wanted)
    assert found.lengths.tolist() == [len(one.ids) for one in wanted]
    assert found.num_tokens == sum(len(one.ids) for one in wanted)
    assert found.made_of == {"from": "here"}


def given_pairs(wanted: list[Sample]) -> list[tuple[list[int], list[bool] | None]]:
    return [(one.ids, one.learned) for one in wanted]


def test_small_vocabularies_take_two_bytes_a_token(tmp_path: Path) -> None:
    write_shards([Sample([1, 65_535])], tmp_path / "a", 65_536, {})
    assert (tmp_path / "a" / "ids.bin").stat().st_size == 4
    assert Shards(tmp_path / "a").ids(0).tolist() == [1, 65_535]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write_shards([Sample([7])], tmp_path / "a", 10, {})

    def broken() -> object:
        yield Sample([8])
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_shards(broken(), tmp_path / "a", 10, {})  # type: ignore[arg-type]
    assert Shards(tmp_path / "a").ids(0).tolist() == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    write_shards([Sample([7, 8, 9])], tmp_path / "a", 10, {})
    (tmp_path / "a" / "ids.bin").write_bytes(b"\0\0")
    with pytest.raises(BadData, match="cut"):
        Shards(tmp_path / "a")
    with pytest.raises(BadData, match="no tokenised samples"):
        Shards(tmp_path / "b")
