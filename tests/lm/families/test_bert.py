from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_bert
from openbook.core.errors import ModelUnavailable
from openbook.lm.families.bert import Bert, load_bert
from openbook.lm.nn.batch import Batch
from openbook.lm.quantization.prepare import prepare

ARRAYS = tiny_bert.weights()
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.write(tmp_path_factory.mktemp("bert"), ARRAYS)


@pytest.fixture(scope="module")
def model(directory: Path) -> Bert:
    return load_bert(directory)


def random_ids(lengths: list[int], seed: int = 1) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, len(tiny_bert.WORDS), length).tolist() for length in lengths]


def forward(model: torch.nn.Module, sequences: list[list[int]]) -> list[np.ndarray]:
    batch = Batch.of([len(ids) for ids in sequences], causal=False)
    out = model(torch.tensor([number for ids in sequences for number in ids]), batch).float().numpy()
    return [out[start:end] for start, end in pairwise(batch.starts.tolist())]


@given(lengths=LENGTHS)
def test_every_sequence_of_a_ragged_batch_equals_the_reference(model: Bert, lengths: list[int]) -> None:
    sequences = random_ids(lengths)
    for got, ids in zip(forward(model, sequences), sequences, strict=True):
        assert np.abs(got - tiny_bert.reference(ARRAYS, ids)).max() < 1e-4


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.25)])
def test_prepared_weights_give_the_same_within_their_precision(
    directory: Path, precision: str, tolerance: float
) -> None:
    fast = prepare(load_bert(directory), precision)  # type: ignore[arg-type]
    sequences = random_ids([7, 7, 12, 1])
    for got, ids in zip(forward(fast, sequences), sequences, strict=True):
        want = tiny_bert.reference(ARRAYS, ids)
        assert np.abs(got - want).max() < tolerance
        assert (got * want).sum() / np.linalg.norm(got) / np.linalg.norm(want) > 0.999


def test_a_hook_reads_probabilities_that_sum_to_one_and_changes_nothing(model: Bert) -> None:
    sequences = random_ids([5, 5, 3])
    plain = forward(model, sequences)
    seen: list[torch.Tensor] = []
    hook = model.layers[0].attention.probabilities.register_forward_hook(lambda *args: seen.append(args[2]))
    hooked = forward(model, sequences)
    hook.remove()
    assert [tuple(one.shape) for one in seen] == [(2, 2, 5, 5), (1, 2, 3, 3)]
    assert all(torch.allclose(one.sum(-1), torch.ones(one.shape[:-1])) for one in seen)
    for one, other in zip(plain, hooked, strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_rows_and_segments_and_embeddings_reach_the_model(model: Bert) -> None:
    ids, segments = random_ids([6])[0], [0, 0, 0, 1, 1, 1]
    batch = Batch.of([6], causal=False)
    want = tiny_bert.reference(ARRAYS, ids, segments)
    given_ids, kinds = torch.tensor(ids), torch.tensor(segments)
    got = model(given_ids, batch, segments=kinds, rows=torch.tensor([5, 0]))
    assert np.abs(got.numpy() - want[[5, 0]]).max() < 1e-4
    embeds = model.tokens(given_ids)
    same = model(torch.zeros(6, dtype=torch.long), batch, input_embeds=embeds, segments=kinds)
    assert np.abs(same.numpy() - want).max() < 1e-4


def test_logits_pool_the_first_token(tmp_path: Path) -> None:
    arrays = tiny_bert.weights(labels=2)
    model = load_bert(tiny_bert.write(tmp_path, {f"bert.{k}" if "cls." not in k else k: v for k, v in arrays.items()}))
    sequences = random_ids([4, 9])
    batch = Batch.of([4, 9], causal=False)
    got = model(torch.tensor([*sequences[0], *sequences[1]]), batch, head="logits").numpy()
    for row, ids in zip(got, sequences, strict=True):
        pooled = np.tanh(
            tiny_bert.reference(arrays, ids)[0] @ arrays["pooler.dense.weight"].T + arrays["pooler.dense.bias"]
        )
        want = pooled @ arrays["cls.seq_relationship.weight"].T + arrays["cls.seq_relationship.bias"]
        assert np.abs(row - want).max() < 1e-4


def test_old_names_of_norms_load(tmp_path: Path) -> None:
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in ARRAYS.items()
    }
    model = load_bert(tiny_bert.write(tmp_path, old))
    ids = random_ids([5])
    assert np.abs(forward(model, ids)[0] - tiny_bert.reference(ARRAYS, ids[0])).max() < 1e-4


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="'llama'"):
        load_bert(tiny_bert.write(tmp_path / "a", ARRAYS, model_type="llama"))
    with pytest.raises(ModelUnavailable, match="'swish9'"):
        load_bert(tiny_bert.write(tmp_path / "b", ARRAYS, hidden_act="swish9"))
    with pytest.raises(ModelUnavailable, match="lacks 16 tensors"):
        load_bert(tiny_bert.write(tmp_path / "c", ARRAYS, num_hidden_layers=3))
    model = load_bert(tiny_bert.write(tmp_path / "d", ARRAYS))
    with pytest.raises(ModelUnavailable, match="no head for"):
        model(torch.tensor([1]), Batch.of([1], causal=False), head="logits")
