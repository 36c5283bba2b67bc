"""Learned places and distances."""

from __future__ import annotations

import pytest
import torch

from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cache import ContiguousCache
from openbook.lm.nn.positions import LearnedPositions, RelativePositions


def test_places_count_from_the_offset_and_end_where_the_table_ends() -> None:
    places = LearnedPositions(6, 2, offset=2)
    assert torch.equal(places(Batch.of([1, 4])), places.weight[[2, 2, 3, 4, 5]])
    with pytest.raises(ValueError, match="has 5 tokens, the model has places for 4"):
        places(Batch.of([5]))


def test_tokens_in_the_cache_count() -> None:
    places = LearnedPositions(4, 2)
    cache = ContiguousCache(1, 1, 8, 1, 2, torch.float32)
    assert torch.equal(places(Batch.of([1], cache=cache, seen=[3])), places.weight[[3]])
    with pytest.raises(ValueError, match="has 5 tokens"):
        places(Batch.of([1], cache=cache, seen=[4]))


def test_near_distances_have_buckets_of_their_own_and_far_ones_share() -> None:
    """The buckets of T5: 32, half for each direction, one a distance up to 8, the last from 128 on."""
    both = RelativePositions(32, 1, 128, bidirectional=True)
    distance = torch.tensor([0, -1, -7, -8, -15, -16, -127, -128, -9999, 1, 7, 8, 128, 9999])
    assert both.buckets(distance).tolist() == [0, 1, 7, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31, 31]
    behind = RelativePositions(32, 1, 128, bidirectional=False)
    assert behind.buckets(torch.tensor([5, 0, -1, -15, -16, -127, -200])).tolist() == [0, 0, 1, 15, 16, 31, 31]


def test_the_last_queries_of_many_keys_get_the_last_rows() -> None:
    one = RelativePositions(8, 3, 16, bidirectional=False)
    assert one(6, 6).shape == (3, 6, 6)
    assert torch.equal(one(2, 6), one(6, 6)[:, -2:])
