"""A prepared model says what the plain one says, for every layer that is fused or packed; and it is never saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lm.checkpoints import TINY
from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.lm.generate import generate
from openbook.lm.kernels.cpu import why_not_int8
from openbook.lm.load import new_model, save_model
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.linear import Linear
from openbook.lm.quantization import onednn
from openbook.lm.quantization.dynamic4 import DynamicInt4Linear
from openbook.lm.quantization.integers import Int4Linear, Int8Linear
from openbook.lm.quantization.prepare import FloatPrecision, Precision, prepare

KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 4},
    "mistral": {"sliding_window": 5},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16},
}


def drawn(kind: str, **changes: Any) -> Family:
    """A model whose every parameter counts: biases and norms are not left at 0 and 1."""
    model = new_model(TINY | {"model_type": kind} | KINDS[kind] | changes, seed=3).requires_grad_(False)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter += torch.randn(parameter.shape, generator=generator) * 0.1
        elif "tokens" not in name:
            parameter *= 5
    return model


INTEGERS = {precision: prepare(drawn("qwen3"), precision) for precision in ("int8", "int4")}


@torch.inference_mode()
def logits(model: nn.Module) -> torch.Tensor:
    found: torch.Tensor = model(torch.arange(20) * 7 % 300, Batch.of([9, 11]))
    return found.float()


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_the_prepared_model_gives_the_logits_of_the_plain_one(
    kind: str, precision: FloatPrecision, tolerance: float, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not private:
        monkeypatch.setattr(onednn, "has_packed_linear", lambda dtype: False)
    want = logits(drawn(kind))
    got = logits(prepare(drawn(kind), precision))
    assert (got - want).abs().max() < tolerance * want.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_stay(kind: str) -> None:
    prompts = [[1, 2, 3], [9, 8, 7, 6, 5]]
    assert generate(prepare(drawn(kind), "float32"), prompts, 6) == generate(drawn(kind), prompts, 6)


def test_every_product_is_packed_and_the_three_of_attention_are_one() -> None:
    layer = prepare(drawn("qwen3"), "float32").layers[0]
    packed = {name for name, module in layer.named_modules() if isinstance(module, onednn.PackedLinear)}
    assert packed == {"attention.qkv", "attention.out", "mlp.gate", "mlp.up", "mlp.down"}


@pytest.mark.parametrize("tied", [True, False])
def test_a_prepared_model_is_not_saved(tied: bool, tmp_path: Path) -> None:
    model = prepare(drawn("llama", tie_word_embeddings=tied), "bfloat16")
    with pytest.raises(ValueError, match=r"'layers\.0\.attention_norm' is packed"):
        save_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "layer"), [("int8", Int8Linear), ("int4", Int4Linear)])
def test_integers_give_what_their_floats_give(kind: str, precision: Precision, layer: type) -> None:
    plain = drawn(kind)
    for module in plain.modules():
        if isinstance(module, Linear) and module.weight is not plain.tokens.weight:
            module.weight.data = layer(module).dequantized()
    if plain.config.tied:
        plain.lm_head.weight = nn.Parameter(layer(plain.lm_head).dequantized(), requires_grad=False)
    want = logits(plain)
    model = prepare(drawn(kind), precision)
    got = logits(model)
    assert 0 < (got - want).abs().max() < 3e-2 * want.abs().max()
    floats = [parameter for name, parameter in model.named_parameters() if not name.endswith("bias")]
    assert {one.dtype for one in floats} == {torch.bfloat16}
    with pytest.raises(ValueError, match="is packed"):
        save_model(model, Path("nowhere"))


@pytest.mark.skipif(bool(why_not_int8()), reason=why_not_int8())
@pytest.mark.parametrize("precision", ["int8", "int4"])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_what_a_sequence_gives_does_not_depend_on_its_batch(
    precision: Precision, lengths: list[int], seed: int
) -> None:
    model = INTEGERS[precision]
    ids = torch.randint(0, 300, (sum(lengths),), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        together = model(ids, Batch.of(lengths)).split(lengths)
        for found, own in zip(together, ids.split(lengths), strict=True):
            assert torch.equal(found, model(own, Batch.of([len(own)])))


def test_four_bits_without_the_kernel_are_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    want = logits(prepare(drawn("qwen2"), "int4"))
    monkeypatch.setattr("openbook.lm.quantization.prepare.why_not_int8", lambda: "no VNNI")
    model = prepare(drawn("qwen2"), "int4")
    assert isinstance(model.lm_head, Int4Linear)
    assert (logits(model) - want).abs().max() < 3e-2 * want.abs().max()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_mixture_routes_by_floats(precision: Precision) -> None:
    sizes = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 24,
    }
    raw = TINY | {"model_type": "qwen2_moe", "decoder_sparse_step": 1} | sizes
    model = prepare(new_model(raw, seed=3), precision)
    mlp = model.layers[0].mlp
    assert mlp.router.weight.dtype is mlp.shared_gate.weight.dtype is mlp.experts.up.dtype is torch.bfloat16
    want = logits(new_model(raw, seed=3))
    assert (logits(model) - want).abs().max() < 0.2 * want.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8", "int4"])
def test_on_a_device_it_gives_the_same(precision: Precision) -> None:
    want = logits(prepare(drawn("qwen3"), precision))
    model = prepare(drawn("qwen3").to("cuda"), precision)
    ids, batch = torch.arange(20, device="cuda") * 7 % 300, Batch.of([9, 11], device="cuda")
    with torch.inference_mode():
        got = model(ids, batch).float().cpu()
    assert (got - want).abs().max() < 4e-2 * want.abs().max()
    with pytest.raises(ValueError, match="save the model before"):
        save_model(model, Path("nowhere"))


def test_four_bits_take_less_than_a_third_of_sixteen() -> None:
    plain = drawn("llama", hidden_size=256, intermediate_size=512)
    wanted = sum(one.weight.numel() for one in plain.modules() if isinstance(one, Linear)) * 2
    packed = prepare(plain, "int4")
    got = sum(one.size_bytes for one in packed.modules() if isinstance(one, Int4Linear | DynamicInt4Linear))
    assert got <= 0.30 * wanted


def test_another_precision_is_named() -> None:
    with pytest.raises(UsageError, match="'int2' is not known"):
        prepare(drawn("llama"), "int2")  # type: ignore[arg-type]
