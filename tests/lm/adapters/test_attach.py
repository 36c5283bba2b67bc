"""What an adapter does to a model and what it leaves alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.checkpoints import TINY
from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import (
    activate,
    adapter_parameters,
    adapter_places,
    attach,
    detach,
    trainable,
)
from openbook.lm.adapters.merge import merge, unmerge
from openbook.lm.adapters.origin import origin_of
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
    described,
)
from openbook.lm.dense import dense
from openbook.lm.families.base import Family
from openbook.lm.generate import generate
from openbook.lm.load import empty_model, new_model, save_model
from openbook.lm.memory import training_memory
from openbook.lm.nn.batch import Batch
from openbook.lm.presets import new_config
from openbook.lm.quantization.prepare import prepare

IDS = torch.arange(14).view(2, 7) * 11 % 300
CHANGES: dict[str, Settings] = {
    "lora": LoraSettings(r=4, target_modules=("all-linear", "lm_head")),
    "rslora": LoraSettings(r=4, is_rank_stabilized=True, dropout=0.5),
    "dora": LoraSettings(r=4, is_dora=True, target_modules=("q_proj", "mlp.down")),
    "whole": LoraSettings(r=4, trained_modules=("tokens", "norm")),
    "bottleneck": BottleneckSettings(size=6, activation="silu"),
}
VIRTUAL: dict[str, Settings] = {
    "prefix": PrefixSettings(3),
    "p-tuning": PrefixSettings(3, projection_size=10),
    "prompt": PromptSettings(3, initial_ids=(5, 6, 7)),
}


def fresh(**changes: object) -> Family:
    model = new_model(TINY | {"model_type": "qwen2"} | changes, seed=2).requires_grad_(False)
    for parameter in model.parameters():
        parameter *= 3
    return model


def learned(model: Family, name: str, seed: int = 5) -> torch.Tensor:
    """Draws something into every parameter of the adapter; the logits with it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter_parameters(model, name):
            parameter += torch.randn(parameter.shape, generator=generator) * 0.1
        return dense(model, IDS)


@pytest.mark.parametrize("kind", CHANGES)
def test_the_first_step_gives_exactly_what_the_base_gives(kind: str) -> None:
    model = fresh()
    want = dense(model, IDS)
    attach(model, CHANGES[kind])
    assert torch.equal(dense(model, IDS), want)


@pytest.mark.parametrize("kind", [*CHANGES, *VIRTUAL])
def test_only_the_adapter_is_trained_and_the_base_comes_back_to_the_bit(kind: str) -> None:
    model = fresh()
    before, want = origin_of(model), dense(model, IDS)
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    attach(model, (CHANGES | VIRTUAL)[kind])
    optimizer = torch.optim.AdamW(adapter_parameters(model, "default"), lr=0.01)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(dense(model, IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
        loss.backward()
        losses.append(loss.item())
        assert all(parameter.grad is not None for parameter in adapter_parameters(model, "default"))
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    activate(model, None)
    assert torch.equal(dense(model, IDS), want)
    detach(model, "default")
    assert {name: bool((value == weights[name]).all()) for name, value in model.named_parameters()} == dict.fromkeys(
        weights, True
    )
    assert origin_of(model) == before


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "whole"])
@pytest.mark.parametrize("tied", [False, True])
def test_merged_is_unmerged_and_can_be_undone(kind: str, tied: bool, tmp_path: Path) -> None:
    if tied and kind == "lora":
        pytest.skip("its head is tied: refused, see below")
    model = fresh(tie_word_embeddings=tied)
    plain = dense(model, IDS)
    attach(model, CHANGES[kind])
    want = learned(model, "default")
    replaced = merge(model, "default")
    assert (dense(model, IDS) - want).abs().max() < 1e-5 * want.abs().max()
    save_model(model, tmp_path)  # plain again: every name is the checkpoint's
    unmerge(model, replaced)
    assert torch.equal(dense(model, IDS), plain)


def test_adapters_are_switched_by_name_and_sequences_have_their_own() -> None:
    model = fresh()
    want: dict[str | None, torch.Tensor] = {None: dense(model, IDS)}
    for seed, name in enumerate(("a", "b")):
        attach(model, CHANGES["dora" if seed else "rslora"], name, seed=seed)
        want[name] = learned(model, name, seed)
    model.eval()
    for name in ("a", None, "b", "a"):
        activate(model, name)
        assert torch.equal(dense(model, IDS), want[name].detach())
    for names in (("a", "b"), (None, "a"), ("b", "b"), (None, None)):
        batch = Batch.of([7, 7], adapters=adapter_places(model, names))
        got = model(IDS.flatten(), batch, rows=torch.tensor([13, 0, 6])).detach()
        for place, row in enumerate((13, 0, 6)):
            assert (got[place] - want[names[row // 7]].flatten(0, 1)[row]).abs().max() < 1e-5
    assert torch.equal(dense(model, IDS), want["a"].detach())


@pytest.mark.parametrize("kind", VIRTUAL)
def test_virtual_tokens_stand_before_what_is_generated(kind: str) -> None:
    model = fresh()
    attach(model, VIRTUAL[kind])
    learned(model, "default")
    prompts = [[1, 2, 3], [9, 8, 7, 6, 5]]
    got = generate(model, prompts, 5)
    for prompt, tokens in zip(prompts, got, strict=True):
        whole = torch.tensor(prompt + tokens)
        with torch.inference_mode():
            logits = model(whole, Batch.of([len(whole)]))
        assert logits[len(prompt) - 1 : -1].argmax(-1).tolist() == tokens


@given(st.lists(st.integers(0, 299), min_size=1, max_size=6), st.integers(0, 99))
def test_a_prompt_of_words_is_these_words_before_the_text(words: list[int], seed: int) -> None:
    model = fresh()
    ids = torch.randint(0, 300, (9,), generator=torch.Generator().manual_seed(seed))
    want = model(torch.cat([torch.tensor(words), ids]), Batch.of([len(words) + 9]))[len(words) :]
    attach(model, PromptSettings(len(words), tuple(words)))
    got = model(ids, Batch.of([9]), rows=torch.tensor([8, 0])).detach()
    assert (got - want[[8, 0]]).abs().max() < 1e-5


def test_no_more_than_a_hundredth_is_trained_at_rank_eight() -> None:
    model = empty_model(new_config("llama", "30m", 32_000), "the test").to_empty(device="cpu")
    model.tie()
    found = attach(model, LoraSettings(r=8, target_modules=("attention",)))
    assert found.trained == sum(8 * (a + b) for a, b in ((512, 512), (512, 256), (512, 256), (512, 512))) * 8
    assert found.share < 0.01
    assert str(found) == f"{found.trained:,} of {found.total:,} parameters are trained (0.57 %)"
    detach(model, "default")
    assert trainable(model).trained == 0


def test_tied_weights_are_never_lost() -> None:
    model = fresh(tie_word_embeddings=True)
    with pytest.raises(UsageError, match="lm_head shares its weight with tokens: what is learned for one is lost"):
        attach(model, LoraSettings(target_modules=("lm_head",)))
    attach(model, LoraSettings(trained_modules=("lm_head",)))
    learned(model, "default")
    tokens, head = (module.changes["default"].module.weight for module in (model.tokens, model.lm_head))
    assert tokens is head
    merge(model, "default")
    assert model.tokens.weight is model.lm_head.weight


def test_what_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    model = fresh()
    for settings, what in (
        (
            LoraSettings(target_modules=("c_attn",)),
            "no linear layer of this model is called 'c_attn': there are attention.q",
        ),
        (LoraSettings(target_modules=("tokens",)), "no linear layer .* 'tokens'"),
        (LoraSettings(trained_modules=("nothing",)), "no module of this model is called 'nothing'"),
        (LoraSettings(target_modules=("mlp.up",), trained_modules=("mlp.up",)), "both in target_modules and in"),
        (PromptSettings(2, initial_ids=(300,)), "not in 0..299"),
    ):
        with pytest.raises(UsageError, match=what):
            attach(model, settings)
    for name in ("", "a.b", "keys", "a/b"):
        with pytest.raises(UsageError, match="cannot be called"):
            attach(model, LoraSettings(), name)
    with pytest.raises(UsageError, match="no adapter 'default': there are none"):
        merge(model, "default")
    assert not hasattr(model, "adapters")
    attach(model, LoraSettings())
    with pytest.raises(UsageError, match="has an adapter 'default' already"):
        attach(model, LoraSettings())
    with pytest.raises(ValueError, match="save the model before it is fused, packed or adapted"):
        save_model(model, tmp_path / "out")
    with pytest.raises(UsageError, match="merge or detach"):
        prepare(model, "float32")
    attach(model, PrefixSettings(2), "prefix")
    with pytest.raises(UsageError, match="'default' was made for the weights as they are"):
        merge(model, "prefix")
    with pytest.raises(UsageError, match="'prefix' stands before all sequences"):
        model(IDS[0], Batch.of([3, 4], adapters=adapter_places(model, ["prefix", None])))
    detach(model, "default")
    with pytest.raises(UsageError, match=r"'prefix' is a prefix adapter: .* cannot be merged"):
        merge(model, "prefix")
    with pytest.raises(UsageError, match="packed for inference"):
        attach(prepare(fresh(), "bfloat16"), LoraSettings())
    for wrong in ({"r": 0}, {"dropout": 1.0}, {"target_modules": ()}):
        with pytest.raises(UsageError):
            LoraSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gelu, gelu_tanh, relu, silu"):
        BottleneckSettings(activation="swish")  # type: ignore[arg-type]


def test_an_adapter_of_the_head_serves_no_single_sequence() -> None:
    model = fresh()
    attach(model, CHANGES["lora"], "a")
    with pytest.raises(UsageError, match="'a' changes lm_head, which does not see every token"):
        model(IDS[0], Batch.of([3, 4], adapters=adapter_places(model, ["a", None])))
    attach(model, LoraSettings(), "b")
    for places, what in (
        (adapter_places(model, ["b"]), "1 adapters for 2 sequences"),
        (torch.tensor([2, -1]), "no adapter is in place 2: there are 2: a, b"),
    ):
        with pytest.raises(UsageError, match=what):
            model(IDS[0], Batch.of([3, 4], adapters=places))
    beside = model(IDS[0], Batch.of([3, 4], adapters=adapter_places(model, ["b", None])), rows=torch.tensor([6, 2]))
    assert beside.shape == (2, 300)
    with pytest.raises(UsageError, match="no adapter 'c': there are a, b"):
        adapter_places(model, ["c"])


def test_a_copy_of_the_model_has_adapters_of_its_own() -> None:
    model = fresh()
    attach(model, PromptSettings(2))
    attach(model, LoraSettings(), "other")
    twin = copy.deepcopy(model)
    activate(model, "default")
    want = dense(model, IDS)
    activate(twin, None)
    assert torch.equal(dense(model, IDS), want)
    assert torch.equal(dense(twin, IDS), dense(fresh(), IDS))


def test_the_origin_is_the_same_in_every_dtype_and_another_for_other_weights() -> None:
    model = fresh()
    origin = origin_of(model)
    for dtype in (torch.bfloat16, torch.float16):
        assert origin_of(fresh().to(dtype)) == origin
    assert origin_of(new_model(TINY | {"model_type": "qwen2"}, seed=3)) != origin


def test_settings_are_shown_by_what_differs() -> None:
    assert described(LoraSettings(r=4, is_dora=True)) == "LoraSettings(r=4, is_dora=True)"


@pytest.mark.parametrize("kind", [*CHANGES, *VIRTUAL])
def test_the_memory_of_an_adapted_model_is_known_without_running_it(kind: str) -> None:
    model = fresh(tie_word_embeddings=kind != "lora")
    whole = training_memory(model, 16, 2)
    trained = attach(model, (CHANGES | VIRTUAL)[kind]).trained
    found = training_memory(model, 16, 2)
    assert found.optimizer == 8 * trained < whole.optimizer
    assert found.gradients == 4 * trained


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [*CHANGES, *VIRTUAL])
def test_on_a_device_it_learns_the_same(kind: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = fresh().to(device)
        attach(model, (CHANGES | VIRTUAL)[kind])
        model.eval()
        ids = IDS.to(device)
        with torch.no_grad():
            for parameter in adapter_parameters(model, "default"):
                parameter += 0.05
        logits = dense(model, ids)
        logits.logsumexp(-1).sum().backward()
        grads = [one.grad for one in adapter_parameters(model, "default") if one.grad is not None]
        found.append([one.detach().cpu() for one in (logits, *grads)])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < 1e-3 * ours.abs().max().clamp_min(1)
