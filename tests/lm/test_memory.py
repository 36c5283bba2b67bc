"""What the calculator says is what is measured: bytes of real tensors on small models of every precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from lm.checkpoints import TINY
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.load import empty_model, new_model
from openbook.lm.memory import inference_memory, kept_for_backward, kv_bytes, training_memory, weight_bytes
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cache import ContiguousCache
from openbook.lm.presets import new_config

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "wide": {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 8},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
}


def shapes(name: str) -> Any:
    return empty_model(TINY | SHAPES[name], "a test")


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_and_cache_are_those_of_the_real_model(name: str, dtype: torch.dtype) -> None:
    model = new_model(TINY | SHAPES[name], dtype)
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in model.parameters()}
    assert weight_bytes(shapes(name).to(dtype)) == sum(storages.values())
    config = model.config
    cache = ContiguousCache(config.num_layers, 3, 20, config.num_kv_heads, config.head_dim, dtype)
    assert kv_bytes(shapes(name).to(dtype), 20, 3) == 2 * cache._k.untyped_storage().nbytes()


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_training_step_keeps_is_what_autograd_keeps(name: str) -> None:
    model = new_model(TINY | SHAPES[name]).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters())
    with kept_for_backward(model) as kept:
        logits = model(torch.arange(48) % 100, Batch.of([24, 24]))
    F.cross_entropy(logits, torch.arange(48)).backward()
    optimizer.step()
    wanted = training_memory(shapes(name), context=24, batch=2)
    assert wanted.activations == pytest.approx(sum(kept.values()), rel=0.05)
    assert wanted.gradients == sum(
        one.grad.untyped_storage().nbytes() for one in model.parameters() if one.grad is not None
    )
    states = [tensor for state in optimizer.state.values() for key, tensor in state.items() if key != "step"]
    assert wanted.optimizer == sum(tensor.untyped_storage().nbytes() for tensor in states)


def test_activations_grow_with_the_tokens_and_not_with_their_square() -> None:
    small, large = (inference_memory(shapes("plain"), context, 1).activations for context in (1_000, 4_000))
    assert 3.5 < large / small < 4.5


def test_sixteen_bits_need_a_master_copy() -> None:
    half = training_memory(shapes("plain").bfloat16(), 8, 1)
    assert half.master == 2 * half.weights == 2 * half.gradients
    assert half.total > half.weights + half.master


def test_an_adapter_needs_the_memory_of_what_it_learns() -> None:
    model = new_model(TINY, torch.bfloat16).requires_grad_(False)
    whole = training_memory(model, 24, 2)
    few = attach(model, LoraSettings(r=2, target_modules=("attention.q",)))
    memory = training_memory(model, 24, 2)
    count = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert 0 < count < 1_000, str(few)
    assert (memory.gradients, memory.optimizer, memory.master) == (2 * count, 8 * count, 4 * count)
    assert memory.activations < whole.activations
    with kept_for_backward(model) as kept:
        model(torch.arange(48) % 100, Batch.of([24, 24]))
    assert memory.activations == pytest.approx(sum(kept.values()), rel=0.05)


def test_a_large_model_is_measured_without_its_memory() -> None:
    large = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    model = empty_model(TINY | large | {"num_key_value_heads": 8, "vocab_size": 128_256}, "a test").bfloat16()
    memory = inference_memory(model, context=8_192, batch=1)
    assert memory.weights == pytest.approx(141e9, rel=0.01)
    assert memory.kv_cache == 2 * 80 * 8 * 128 * 8_192 * 2
    assert 0 < memory.activations < 5e9


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_other_families_are_counted_too(family: str) -> None:
    model = empty_model(new_config(family, "1m", 300, 64), "a test")
    real = new_model(new_config(family, "1m", 300, 64)).train().requires_grad_(True)
    ids = torch.arange(48) % 100
    given: dict[str, Any] = {"input_ids": ids, "batch": Batch.of([24, 24], causal=real.causal)}
    if family == "t5":
        given |= {"decoder_input_ids": ids, "decoder_batch": Batch.of([24, 24])}
    with kept_for_backward(real) as kept:
        real(**given)
    assert training_memory(model, 24, 2).activations == pytest.approx(sum(kept.values()), rel=0.05)
    serving = inference_memory(model, 24, 2)
    assert serving.activations > 0
    wanted = {"gpt2": 2 * 4 * 128, "bert": 0, "t5": 2 * 2 * 2 * 128}[family]  # numbers a token
    assert serving.kv_cache == wanted * 48 * 4
