"""Rows of several sources in shares: the same for the same seed, on every rank its own part, gone on with anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import BadData
from openbook.training.data.shards import Sample, Shards, write_shards
from openbook.training.sources.files import MixedRows, PackedRows, Steps, WindowRows

SIZE = 8


def shards(folder: Path, first: int, count: int) -> Shards:
    """Samples whose tokens are all at least `first`."""
    samples = [Sample([first + at % 50] * (2 + at % 6)) for at in range(count)]
    return write_shards(samples, folder / str(first), 1000, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Shards]:
    folder = tmp_path_factory.mktemp("mixed")
    return [shards(folder, 0, 70), shards(folder, 100, 40), shards(folder, 200, 25)]


def steps(made: list[Shards], weights: list[float], rank: int = 0, world: int = 1, seed: int = 7) -> Steps:
    """The second is read as windows."""
    parts = [WindowRows(one, SIZE, seed) if at == 1 else PackedRows(one, SIZE, seed) for at, one in enumerate(made)]
    return Steps(
        MixedRows(parts[: len(weights)], weights), batch_size=4, micro_batch_size=2, rank=rank, world_size=world
    )


def sources(rows: MixedRows, count: int) -> list[int]:
    return [rows.next_row()[0] for _ in range(count)]


@given(weights=st.lists(st.floats(0.05, 10), min_size=1, max_size=3), count=st.integers(1, 200))
def test_shares_are_met_after_any_number_of_rows(made: list[Shards], weights: list[float], count: int) -> None:
    source = steps(made, weights)
    assert isinstance(source.rows, MixedRows)
    taken = sources(source.rows, count)
    for at, weight in enumerate(weights):
        assert abs(taken.count(at) - count * weight / sum(weights)) < 1.0001


def test_rows_are_of_the_part_that_they_say(made: list[Shards]) -> None:
    rows = steps(made, [2, 1, 1]).rows
    for _ in range(200):
        at, row = rows.next_row()
        for ids, _ in rows.read((at, row)):
            assert all(100 * at <= one < 100 * at + 50 for one in ids)


@pytest.mark.parametrize("before", [0, 1, 5, 23, 60])
def test_it_goes_on_where_it_was(made: list[Shards], before: int) -> None:
    source = steps(made, [3, 1, 2])
    for _ in range(before):
        source.next_step()
    state = json.loads(json.dumps(source.state()))
    expected = [micro.ids.tolist() for _ in range(30) for micro in source.next_step()]
    again = steps(made, [3, 1, 2])
    again.resume(state)
    assert [micro.ids.tolist() for _ in range(30) for micro in again.next_step()] == expected


def test_the_seed_decides(made: list[Shards]) -> None:
    def first(seed: int) -> list[list[int]]:
        return [micro.ids.tolist() for micro in steps(made, [1, 1], seed=seed).next_step()]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_ranks_have_each_their_own_rows_and_all_of_them(made: list[Shards]) -> None:
    whole, parts = steps(made, [2, 1]), [steps(made, [2, 1], rank, 2) for rank in range(2)]
    for _ in range(30):
        expected = sorted(tuple(micro.ids.tolist()) for micro in whole.next_step())
        one, other = (micro for part in parts for micro in part.next_step())
        together = sorted([*one.ids.tolist(), *other.ids.tolist()])
        assert together == sorted(token for ids in expected for token in ids)


@pytest.mark.parametrize(("parts", "weights"), [(2, [1.0]), (0, []), (1, [0.0]), (2, [1.0, -1.0])])
def test_weights_that_cannot_be(made: list[Shards], parts: int, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="each needs one above 0"):
        MixedRows([PackedRows(one, SIZE, 1) for one in made[:parts]], weights)


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no samples"):
        PackedRows(write_shards([], tmp_path / "none", 10, {}), SIZE, 1)
