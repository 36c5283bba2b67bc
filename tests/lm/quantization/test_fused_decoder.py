"""All layers in one call: the numbers of the layers one by one, and the same to the bit in any company and in any chunks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from openbook.lm.families.llama import Llama
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.packed_cache import PackedStorage
from openbook.lm.nn.paged import PagedStorage
from openbook.lm.quantization.fused_decoder import why_not_fused
from openbook.lm.quantization.prepare import Precision, prepare

pytestmark = pytest.mark.skipif(bool(why_not_int8()), reason=why_not_int8())

VOCABULARY, BLOCKS = 300, 24
KINDS: dict[str, dict[str, Any]] = {
    "grouped": {"model_type": "llama", "num_key_value_heads": 2},
    "single": {"model_type": "llama", "num_key_value_heads": 4, "head_dim": 16},
    "one for all": {"model_type": "qwen2", "num_key_value_heads": 1, "head_dim": 64},
    "normed": {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 48},
    "window": {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 21},
}
MADE: list[tuple[str, Precision]] = [*((kind, "int8") for kind in KINDS), ("normed", "int4"), ("grouped", "bfloat16")]


def made(kind: str, precision: Precision) -> Llama:
    sizes = {
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "head_dim": 32,
    }
    model = new_model(sizes | KINDS[kind], seed=3)
    assert isinstance(model, Llama)
    for layer in model.layers:  # fresh biases and norms are all alike
        for name, parameter in layer.named_parameters():
            if "norm" in name or name.endswith("bias"):
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return prepare(model, precision)


@pytest.fixture(scope="module", params=MADE, ids="-".join)
def model(request: pytest.FixtureRequest) -> Llama:
    return made(*request.param)


@pytest.fixture(params=[pytest.param(torch.float32, marks=pytest.mark.slow), torch.bfloat16], ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Of keys and values; each is a kernel of its own, which takes ten seconds to be compiled."""
    found: torch.dtype = request.param
    return found


@torch.inference_mode()
def logits(
    model: Llama, tokens: Tensor, chunks: list[int], storage: PackedStorage | PagedStorage, table: list[int]
) -> Tensor:
    """(T, V) of one sequence that is read in these chunks."""
    found = []
    ends = [0, *torch.tensor(chunks).cumsum(0).tolist()]
    for begin, end in pairwise(ends):
        batch = Batch.of([end - begin], cache=storage.view(torch.tensor([table])), seen=[begin])
        found.append(model(tokens[begin:end], batch).float().clone())
    return torch.cat(found)


def storage_of(model: Llama, dtype: torch.dtype) -> PackedStorage:
    found = model.paged_storage(BLOCKS, 16, dtype)
    assert isinstance(found, PackedStorage)
    return found


def test_the_layers_one_by_one_give_the_same(model: Llama, dtype: torch.dtype) -> None:
    config = model.config
    tokens = torch.randint(VOCABULARY, (70,), generator=torch.Generator().manual_seed(0))
    table = [5, 3, 9, 0, 11]
    plain = PagedStorage(config.num_layers, BLOCKS, 16, config.num_kv_heads, config.head_dim, dtype)
    packed = storage_of(model, dtype)
    wide = model.float()  # what flows between the layers, as in the fused call
    got = logits(model, tokens, [33, 1, 1, 35], packed, table)
    want = logits(wide, tokens, [33, 1, 1, 35], plain, table)
    torch.testing.assert_close(got, want, atol=0.02 * float(want.abs().max()), rtol=0)
    batch = Batch.of([1], cache=packed.view(torch.tensor([table])), seen=[69])
    other = Batch.of([1], cache=plain.view(torch.tensor([table])), seen=[69])
    assert batch.cache is not None
    assert other.cache is not None
    for one, reference in zip(batch.cache.read(1, batch.runs[0]), other.cache.read(1, other.runs[0]), strict=True):
        torch.testing.assert_close(one.float(), reference.float(), atol=0.1, rtol=0.1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_to_the_bit_in_any_company_and_in_any_chunks(model: Llama, dtype: torch.dtype, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 60))
    seed = data.draw(st.integers(0, 1_000))
    tokens = torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))
    alone = logits(model, tokens, [length], storage_of(model, dtype), [1, 2, 3, 4])
    cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4))) if length > 1 else []
    chunks = [end - begin for begin, end in pairwise([0, *cuts, length])]
    storage = storage_of(model, dtype)
    storage.k.fill_(float("nan"))  # what another sequence left behind
    storage.v.fill_(float("nan"))
    seen, mine = 0, [20, 7, 19, 8]
    for chunk in chunks:
        others = data.draw(st.lists(st.integers(1, 20), max_size=3))
        place = data.draw(st.integers(0, len(others)))
        tables = [[9 + 2 * n, 10 + 2 * n, 0, 0] for n in range(len(others))]
        lengths, before = [*others], [0] * len(others)
        for where, value in ((tables, mine), (lengths, chunk), (before, seen)):
            where.insert(place, value)  # type: ignore[attr-defined]
        ids = [torch.randint(VOCABULARY, (count,)) for count in lengths]
        ids[place] = tokens[seen : seen + chunk]
        batch = Batch.of(lengths, cache=storage.view(torch.tensor(tables)), seen=before)
        rows = torch.arange(chunk) + int(batch.starts[place])
        with torch.inference_mode():
            got = model(torch.cat(ids), batch, rows=rows).float()
        assert torch.equal(got, alone[seen : seen + chunk])
        seen += chunk


def test_without_a_cache(model: Llama) -> None:
    """Several sequences at once, as when a text is scored: what they give alone, with a cache."""
    lengths = [17, 1, 40]
    tokens = torch.randint(VOCABULARY, (sum(lengths),), generator=torch.Generator().manual_seed(4))
    batch = Batch.of(lengths)
    with torch.inference_mode():
        got = model(tokens, batch)
        embedded = model(tokens, batch, input_embeds=model.tokens(tokens))
        first = got.clone()
        model(tokens.flip(0), batch)  # what is given is not written over
    assert torch.equal(first, embedded)
    assert torch.equal(first, got)
    parts = tokens.split(lengths)
    want = torch.cat([logits(model, part, [len(part)], storage_of(model, torch.bfloat16), [3, 1, 2]) for part in parts])
    if model.dtype == torch.bfloat16:
        assert torch.equal(got.float(), want.bfloat16().float())
    torch.testing.assert_close(got.float(), want, atol=0.02 * float(want.abs().max()), rtol=0)


def test_the_highest_of_each_64_logits(model: Llama) -> None:
    storage = storage_of(model, torch.bfloat16)
    batch = Batch.of([5], cache=storage.view(torch.arange(2)[None]), seen=[0])
    with torch.inference_mode():
        found = model(torch.arange(5), batch)
    assert model.fused is not None
    peaks = model.fused.peaks_of(found)
    assert peaks is not None
    whole = torch.nn.functional.pad(found, (0, -VOCABULARY % 64), value=-torch.inf)
    assert torch.equal(torch.from_numpy(peaks), whole.unflatten(1, (-1, 64)).amax(dim=2))
    assert model.fused.peaks_of(found.clone()) is None


def test_whoever_looks_inside_sees_the_layers(model: Llama) -> None:
    seen: list[Tensor] = []
    hook = model.layers[0].attention.probabilities.register_forward_hook(lambda *found: seen.append(found[2]))  # type: ignore[union-attr,arg-type]
    with torch.inference_mode():
        model(torch.arange(5), Batch.of([5]))
    hook.remove()
    assert seen


def test_hidden_states_and_a_head_of_ones_own(model: Llama) -> None:
    tokens = torch.randint(VOCABULARY, (9,))
    batch = Batch.of([9], cache=storage_of(model, torch.bfloat16).view(torch.tensor([[0]])))
    with torch.inference_mode():
        hidden = model(tokens, batch, head="hidden")
        through = model(tokens, batch, head=lambda hidden, head: head(hidden))
        want = model(tokens, batch)
    assert hidden.shape == (9, 128)
    torch.testing.assert_close(through.float(), want, atol=0.05 * float(want.abs().max()), rtol=0)


def test_what_it_can_not_do_is_named() -> None:
    sizes = {"num_hidden_layers": 1, "vocab_size": 64, "num_attention_heads": 4}
    narrow = {"model_type": "llama", "hidden_size": 96, "intermediate_size": 128, "num_key_value_heads": 4}
    odd = prepare(new_model(sizes | narrow), "int8")
    assert "whole 16" in why_not_fused(odd)
    wide = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 128, "num_key_value_heads": 4}
    tanh = prepare(new_model(sizes | wide | {"hidden_act": "gelu_pytorch_tanh"}), "int8")
    assert "gelu_tanh" in why_not_fused(tanh)
    assert "of our own order" in why_not_fused(prepare(new_model(sizes | wide), "float32"))
