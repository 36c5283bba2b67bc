"""Pieces: the same for every split, drawn by their own number, gone on with where a run stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openbook.core.errors import BadData
from openbook.training.data.shards import Sample, Shards, write_shards
from openbook.training.sources.pieces import Cut, Piece, Pieces, drawn, held_out

Said = list[tuple[list[int], float]]


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    draw = np.random.default_rng(3)
    samples = [Sample(draw.integers(0, 50, draw.integers(3, 20)).tolist()) for _ in range(50)]
    return write_shards(samples, tmp_path / "shards", 50, {})


def pieces(shards: Shards, layout: str, micro: int = 8, rank: int = 0, world: int = 1) -> Pieces:
    cut = Cut(layout, 24, lambda length: length + 2)
    return Pieces(shards, cut, batch_size=8, micro_batch_size=micro, seed=5, rank=rank, world_size=world)


def said(micros: list[list[Piece]]) -> Said:
    """Of each piece its ids, and the first number of its own draw."""
    return [(piece.ids.tolist(), float(piece.draw.random())) for micro in micros for piece in micro]


@pytest.mark.parametrize("layout", ["windows", "packed", "single"])
def test_a_piece_and_its_draw_do_not_hang_on_the_split(shards: Shards, layout: str) -> None:
    whole, small = pieces(shards, layout), pieces(shards, layout, 3)
    ranks = [pieces(shards, layout, 1, rank, 2) for rank in range(2)]
    for _ in range(14):  # across epochs
        expected = sorted(said(whole.next_step()))
        assert sorted(said(small.next_step())) == expected
        assert sorted(one for rank in ranks for one in said(rank.next_step())) == expected


@pytest.mark.parametrize("layout", ["windows", "packed", "single"])
@pytest.mark.parametrize("before", [1, 6, 7, 9])
def test_it_goes_on_where_it_stopped(shards: Shards, layout: str, before: int) -> None:
    one, other = pieces(shards, layout), pieces(shards, layout)
    for _ in range(before):
        one.next_step()
    other.resume(one.state())
    assert [said(one.next_step()) for _ in range(9)] == [said(other.next_step()) for _ in range(9)]


def test_each_epoch_draws_anew(shards: Shards) -> None:
    """All samples of an epoch, each with another draw than in the one before."""
    source = pieces(shards, "single", 1)
    taken: Iterator[tuple[list[int], float]] = (one for _ in range(25) for one in said(source.next_step()))
    epochs = [{tuple(ids): number for ids, number in (next(taken) for _ in range(50))} for _ in range(2)]
    assert set(epochs[0]) == set(epochs[1])
    assert not set(epochs[0].values()) & set(epochs[1].values())


def test_streams_have_no_number_in_common() -> None:
    streams = [drawn(5, epoch, number).random(100) for epoch in range(3) for number in range(3)]
    assert len(np.unique(np.concatenate(streams))) == 900


def test_what_is_held_out_is_all_of_it_once_and_always_the_same(shards: Shards) -> None:
    cut = Cut("windows", 24, lambda length: length)
    first = said(list(held_out(shards, cut, None, 5, 0, 1)))
    again = [one for rank in range(2) for one in said(list(held_out(shards, cut, None, 5, rank, 2)))]
    assert sorted(first) == sorted(again)
    assert [token for ids, _ in first for token in ids] == shards.window(0, sum(len(ids) for ids, _ in first))[
        0
    ].tolist()
    assert sum(len(ids) for ids, _ in first) >= shards.num_tokens - 1


def test_too_little_and_too_long_are_refused(tmp_path: Path) -> None:
    short = write_shards([Sample([1, 2, 3])], tmp_path / "short", 50, {})
    with pytest.raises(BadData, match="two windows of 24"):
        pieces(short, "windows")
    long = write_shards([Sample([1] * 23)], tmp_path / "long", 50, {})
    with pytest.raises(BadData, match="25 tokens, a row 24"):
        pieces(long, "packed")
