from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.lm.families.bert_int8 import Int8Bert
from openbook.lm.kernels.cpu import why_not_int8

pytestmark = pytest.mark.skipif(bool(why_not_int8()), reason=f"int8 {why_not_int8()}")
ARRAYS = tiny_bert.weights()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Int8Bert:
    return Int8Bert(tiny_bert.write(tmp_path_factory.mktemp("bert"), ARRAYS))


def run(model: Int8Bert, sequences: list[list[int]]) -> list[np.ndarray]:
    starts = np.cumsum([0, *map(len, sequences)])
    ids = np.concatenate([np.array(ids, dtype=np.int64) for ids in sequences])
    out = model.forward(ids, np.zeros_like(ids), starts)
    return np.split(out, starts[1:-1])


def test_bytes_stay_close_to_the_reference_at_every_length(model: Int8Bert) -> None:
    rng = np.random.default_rng(3)
    sequences = [rng.integers(0, len(tiny_bert.WORDS), length).tolist() for length in range(1, 40)]
    for got, ids in zip(run(model, sequences), sequences, strict=True):
        want = tiny_bert.reference(ARRAYS, ids)
        cosine = (got * want).sum(-1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(want, axis=-1)
        assert cosine.mean() > 0.999
        assert cosine.min() > 0.99


def test_a_sequence_is_the_same_to_the_bit_in_any_company(model: Int8Bert) -> None:
    rng = np.random.default_rng(4)
    sequences = [rng.integers(0, len(tiny_bert.WORDS), length).tolist() for length in (13, 1, 30, 12, 25)]
    together = run(model, sequences)
    alone = [run(model, [ids])[0] for ids in sequences]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_ids_outside_the_tables_are_refused_before_the_kernel(model: Int8Bert) -> None:
    one = np.array([0, 1])
    with pytest.raises(IndexError, match="id"):
        model.forward(np.array([len(tiny_bert.WORDS)]), np.array([0]), one)
    with pytest.raises(IndexError, match="segment"):
        model.forward(np.array([1]), np.array([2]), one)
    long = np.zeros(tiny_bert.POSITIONS + 1, dtype=np.int64)
    with pytest.raises(IndexError, match="length"):
        model.forward(long, long, np.array([0, len(long)]))


def test_a_shape_that_the_kernels_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="int8"):
        Int8Bert(tiny_bert.write(tmp_path, ARRAYS, hidden_act="relu"))
