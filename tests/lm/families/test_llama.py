"""The Llama kind against what transformers says for the same weights, and against itself in other shapes of batch."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lm.families.make_golden_llama import drawn
from openbook.core.errors import ModelUnavailable
from openbook.lm.dense import dense
from openbook.lm.families.llama import Llama
from openbook.lm.families.llama_config import LlamaConfig
from openbook.lm.generate import Sampling, generate
from openbook.lm.load import load_model
from openbook.lm.nn.batch import Batch

GOLDEN = json.loads((Path(__file__).parent / "golden_llama.json").read_text("utf-8"))
IDS = torch.tensor(GOLDEN["ids"])
SMALL = {
    "model_type": "qwen3",
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


def written(folder: Path, config: dict, shapes: dict[str, list[int]]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {name: drawn(name, tuple(shape)) for name, shape in shapes.items()}
    if config.get("tie_word_embeddings"):
        del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def small() -> Llama:
    model = Llama(LlamaConfig.of(SMALL)).eval().requires_grad_(False)
    model.initialise(1)
    return model


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_logits_and_greedy_tokens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    golden = GOLDEN["models"][name]
    model = load_model(written(tmp_path, golden["config"], golden["shapes"]))
    with torch.inference_mode():
        logits = model(IDS, Batch.of([len(IDS)])).double().numpy()
    wanted = np.array(golden["logits"])
    assert np.abs(logits - wanted).max() < 1e-5 * max(1.0, np.abs(wanted).max())
    assert generate(model, [IDS[:9].tolist()], 8) == [golden["greedy"]]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 99))
def test_sequences_in_one_batch_do_not_see_each_other(small: Llama, lengths: list[int], seed: int) -> None:
    ids = torch.randint(0, 50, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    together = small(ids, Batch.of(lengths))
    alone = torch.cat([small(one, Batch.of([len(one)])) for one in ids.split(lengths)])
    assert (together - alone).abs().max() < 1e-5


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 99))
def test_reading_in_pieces_from_the_cache_is_reading_at_once(
    small: Llama, cuts: list[int], sequences: int, seed: int
) -> None:
    from openbook.lm.nn.cache import ContiguousCache

    length = sum(cuts)
    ids = torch.randint(0, 50, (sequences, length), generator=torch.Generator().manual_seed(seed))
    config = small.config
    cache = ContiguousCache(2, sequences, length, config.num_kv_heads, config.head_dim, torch.float32)
    found, seen = [], 0
    for cut in cuts:
        batch = Batch.of([cut] * sequences, cache=cache, seen=[seen] * sequences)
        logits = small(ids[:, seen : seen + cut].reshape(-1), batch)
        found.append(logits.view(sequences, cut, -1))
        seen += cut
    assert (torch.cat(found, dim=1) - dense(small, ids)).abs().max() < 1e-5


def test_dense_leaves_padding_out_on_either_side(small: Llama) -> None:
    ids = torch.tensor([[7, 8, 9, 0, 0], [0, 0, 7, 8, 9]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    found = dense(small, ids, mask)
    assert (found[0, :3] - found[1, 2:]).abs().max() < 1e-6
    assert not found[0, 3:].any()
    assert not found[1, :2].any()


def test_rows_and_heads_give_what_is_asked_for(small: Llama) -> None:
    batch = Batch.of([4, 3])
    ids = torch.arange(7)
    logits = small(ids, batch)
    rows = torch.tensor([3, 6])
    assert torch.allclose(small(ids, batch, rows=rows), logits[rows], atol=1e-6)
    hidden = small(ids, batch, rows=rows, head="hidden")
    assert hidden.shape == (2, 16)
    doubled = small(ids, batch, rows=rows, head=lambda x, head: head(x) * 2)
    assert torch.allclose(doubled, logits[rows] * 2, atol=1e-6)


def test_a_fresh_model_knows_nothing() -> None:
    model = Llama(LlamaConfig.of(SMALL | {"vocab_size": 1_000, "hidden_size": 64, "tie_word_embeddings": True}))
    model.initialise(3)
    ids = torch.randint(0, 1_000, (400,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(model(ids[:-1], Batch.of([399])), ids[1:])
    assert abs(float(loss) - math.log(1_000)) < 0.05


def test_fresh_weights_are_drawn_as_the_docstring_says() -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8}
    model = Llama(LlamaConfig.of(SMALL | sizes | {"model_type": "qwen2"})).requires_grad_(False)
    model.initialise(1)
    layer = model.layers[3]
    assert float(layer.mlp.up.weight.std()) == pytest.approx(0.02, rel=0.1)
    assert float(layer.mlp.down.weight.std()) == pytest.approx(0.02 / 4, rel=0.1)
    assert float(layer.attention.out.weight.std()) == pytest.approx(0.02 / 4, rel=0.1)
    assert not layer.attention.q.bias.any()
    assert (layer.mlp_norm.weight == 1).all()


def test_the_plain_path_shows_its_probabilities_and_gives_the_same(small: Llama) -> None:
    ids, batch = torch.arange(9), Batch.of([5, 4])
    fused = small(ids, batch)
    seen: list[torch.Tensor] = []
    hook = small.layers[0].attention.probabilities.register_forward_hook(lambda _, __, out: seen.append(out))
    plain = small(ids, batch)
    hook.remove()
    assert (plain - fused).abs().max() < 1e-5
    assert [tuple(one.shape) for one in seen] == [(1, 4, 5, 5), (1, 4, 4, 4)]
    assert all(torch.allclose(one.sum(-1), torch.ones(())) and not one.triu(1).any() for one in seen)


def test_sampling_draws_again_what_it_drew_and_keeps_to_its_bounds(small: Llama) -> None:
    first = generate(small, [[1, 2, 3]], 12, sampling=Sampling(1.5, seed=5))
    assert first == generate(small, [[1, 2, 3]], 12, sampling=Sampling(1.5, seed=5))
    assert first != generate(small, [[1, 2, 3]], 12, sampling=Sampling(1.5, seed=6))
    greedy = generate(small, [[1, 2, 3]], 12)
    assert generate(small, [[1, 2, 3]], 12, sampling=Sampling(1.5, top_k=1)) == greedy
    assert generate(small, [[1, 2, 3]], 12, sampling=Sampling(1.5, top_p=1e-6)) == greedy
    assert generate(small, [[1, 2, 3], [4]], 12, stop=(greedy[0][2],))[0] == greedy[0][:3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "rwkv"}, "rwkv"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"head_dim": 7}, "odd"),
        ({"num_hidden_layers": 0}, "1 or more"),
        ({"hidden_act": "swish9"}, "swish9"),
        ({"rope_scaling": {"rope_type": "spiral"}}, "spiral"),
        ({"layer_types": ["full_attention"]}, "1 layers of 2"),
    ],
)
def test_settings_that_cannot_be_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LlamaConfig.of(SMALL | change)


def test_a_checkpoint_of_other_shapes_names_the_first(tmp_path: Path) -> None:
    golden = GOLDEN["models"]["llama"]
    shapes = golden["shapes"] | {"model.norm.weight": [25]}
    with pytest.raises(ModelUnavailable, match=r"norm\.weight \(wanted \(24,\), got \(25,\)"):
        load_model(written(tmp_path, golden["config"], shapes))


def test_impossible_sizes_are_refused_before_memory_is_spent(tmp_path: Path) -> None:
    golden = GOLDEN["models"]["llama"]
    written(tmp_path, golden["config"], golden["shapes"])
    (tmp_path / "config.json").write_text(json.dumps(golden["config"] | {"vocab_size": 10**12}))
    with pytest.raises(ModelUnavailable, match=r"tokens\.weight \(wanted \(1000000000000, 24\)"):
        load_model(tmp_path)
