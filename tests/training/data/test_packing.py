"""Rows hold every sample once, none is too full, and few are half empty."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.training.data.packing import fill_rate, pack
from openbook.training.data.reading import data_files
from openbook.training.data.receipt import Receipt
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Sample, write_shards
from openbook.training.data.tokenised import samples_of
from openbook.training.sources.files import Packed


@given(lengths=st.lists(st.integers(1, 50), max_size=200), size=st.integers(50, 90))
def test_rows(lengths: list[int], size: int) -> None:
    rows = pack(lengths, size)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in row) <= size for row in rows)
    assert len(rows) <= 11 / 9 * max(math.ceil(sum(lengths) / size), sum(one > size / 2 for one in lengths)) + 2


def test_a_sample_that_fits_no_row() -> None:
    with pytest.raises(ValueError, match="51 tokens, a row 50"):
        pack([3, 51], 50)


def test_fill_rate() -> None:
    assert fill_rate([3, 3, 2], 6) == (2, 8 / 12)
    assert fill_rate([], 6) == (0, 0.0)


@pytest.fixture
def model() -> Family:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return new_model({"model_type": "llama", "vocab_size": 90, "max_position_embeddings": 64} | shape, seed=3).eval()


def packed(folder: Path, samples: list[Sample], size: int) -> Packed:
    shards = write_shards(samples, folder / "made", 90, {})
    return Packed(shards, batch_size=2, micro_batch_size=2, max_seq_len=size, seed=1)


def test_packed_logits_are_those_of_each_sample_alone(tmp_path: Path, model: Family) -> None:
    draw = np.random.default_rng(3)
    samples = [Sample(draw.integers(0, 90, length).tolist()) for length in draw.integers(2, 30, 20)]
    with torch.no_grad():
        for micro in packed(tmp_path, samples, 60).next_step():
            together = model(micro.ids, micro.batch())
            assert len(micro.lengths) > 3
            begin = 0
            for length in micro.lengths:
                alone = micro.ids[begin : begin + length]
                expected = model(alone, Batch.of([length]))
                torch.testing.assert_close(together[begin : begin + length], expected, atol=1e-5, rtol=0)
                begin += length


def test_the_first_token_of_a_document_is_never_learned(tmp_path: Path) -> None:
    """Each sample has one token that stands nowhere else, its first."""
    samples = [Sample([at, *[80 + place % 9 for place in range(at % 7 + 1)]]) for at in range(60)]
    source = packed(tmp_path, samples, 20)
    seen: list[int] = []
    for _ in range(40):
        for micro in source.next_step():
            assert int(micro.targets.min()) >= 80
            seen += micro.ids.tolist()
            starts = torch.tensor([0, *micro.lengths[:-1]]).cumsum(0)
            assert bool((micro.ids[starts] < 80).all())
            assert len(micro.targets) == len(micro.ids)
    assert set(range(60)) <= set(seen)


def test_a_target_is_learned_where_it_was_said_to_be(tmp_path: Path) -> None:
    """Ids below 40 are not learned, those above are; a first one is not."""
    draw = np.random.default_rng(4)
    samples = [[int(one) for one in draw.integers(0, 80, length)] for length in draw.integers(2, 12, 40)]
    samples = [[*ids, 79] for ids in samples]
    source = packed(tmp_path, [Sample(ids, [one >= 40 for one in ids]) for ids in samples], 20)
    for _ in range(5):
        for micro in source.next_step():
            assert int(micro.targets.min()) >= 40
            within = torch.ones(len(micro.ids), dtype=torch.bool)
            within[torch.tensor(micro.lengths).cumsum(0) - 1] = False  # what follows there is only learned
            following = micro.ids.roll(-1)
            assert set(torch.nonzero(within & (following >= 40)).flatten().tolist()) <= set(micro.rows.tolist())
            inner = within[micro.rows]
            assert torch.equal(micro.targets[inner], following[micro.rows[inner]])
            assert set(micro.targets[~inner].tolist()) == {79}


def test_rows_of_real_lengths_are_full(data: Path) -> None:
    tokenizer = default_tokenizer()
    files = data_files([data / "alpaca" / "alpaca_5000.json.gz"])
    samples = samples_of(files, tokenizer, SampleSettings(512), Receipt())
    _, rate = fill_rate([len(one.ids) - 1 for one in samples], 512)
    assert rate >= 0.98
