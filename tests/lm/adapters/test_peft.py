"""Files of adapters go to PEFT and come from it, with equal logits and equal gradients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
from transformers import AutoModelForCausalLM

from lm.checkpoints import tiny
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.adapters.attach import adapter_parameters, attach, detach, table_of
from openbook.lm.adapters.files import load_adapter, save_adapter
from openbook.lm.adapters.merge import merge
from openbook.lm.adapters.settings import LoraSettings, PrefixSettings, PromptSettings, Settings
from openbook.lm.adapters.tensors import wanted_tensors
from openbook.lm.dense import dense
from openbook.lm.families.base import Family
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.presets import new_config

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

IDS = torch.arange(14).view(2, 7) * 11 % 300
LORA = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6, "init_lora_weights": False}
OURS: dict[str, Settings] = {
    "lora": LoraSettings(r=4, alpha=6, target_modules=("attention.q", "down_proj")),
    "rslora": LoraSettings(r=4, alpha=6, is_rank_stabilized=True, rank_pattern={"layers.1.attention.q": 2}),
    "alphas": LoraSettings(r=4, alpha=6, target_modules=("all-linear",), alpha_pattern={"mlp.up": 3.0}),
    "dora": LoraSettings(r=4, alpha=6, is_dora=True),
    "head": LoraSettings(r=4, target_modules=("lm_head", "q"), trained_modules=("norm", "layers.1.mlp.up")),
    "prefix": PrefixSettings(5),
    "p-tuning": PrefixSettings(5, projection_size=12),
    "prompt": PromptSettings(5, initial_ids=(7, 8)),
}
THEIRS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(**LORA, target_modules=["q_proj", "down_proj"], lora_dropout=0.5),
    "rslora": lambda: peft.LoraConfig(**LORA, target_modules="all-linear", use_rslora=True, rank_pattern={"k_proj": 2}),
    "alphas": lambda: peft.LoraConfig(**LORA, target_modules=["o_proj"], alpha_pattern={"1.self_attn.o_proj": 5}),
    "dora": lambda: peft.LoraConfig(**LORA, target_modules=["v_proj", "up_proj"], use_dora=True),
    "head": lambda: peft.LoraConfig(**LORA, target_modules=["q_proj", "lm_head"], modules_to_save=["norm"]),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "p-tuning": lambda: peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=20
    ),
    "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    tiny(folder, 3, model_type=request.param)
    return folder


def drawn(model: Family, name: str = "default") -> None:
    """Something learned in every parameter of the adapter."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter_parameters(model, name):
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2


def their_logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(IDS).logits
    return found[:, -IDS.shape[1] :]


def their_base(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("kind", OURS)
def test_what_is_saved_here_peft_reads_with_equal_logits(kind: str, base: Path, tmp_path: Path) -> None:
    model = load_model(base)
    plain = dense(model, IDS)
    attach(model, OURS[kind])
    drawn(model)
    save_adapter(model, "default", tmp_path)
    theirs = peft.PeftModel.from_pretrained(their_base(base), str(tmp_path)).eval()
    got = dense(model, IDS).detach()
    assert (got - their_logits(theirs)).abs().max() < 1e-5 * got.abs().max().clamp_min(1)
    assert (got - plain).abs().max() > 1e-2  # it does something
    detach(model, "default")
    assert torch.equal(dense(model, IDS), plain)
    load_adapter(model, tmp_path, "again")
    assert (dense(model, IDS) - got).abs().max() < 1e-6


@pytest.mark.parametrize("kind", THEIRS)
def test_what_peft_saves_is_read_here_with_equal_logits(kind: str, base: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = peft.get_peft_model(their_base(base), THEIRS[kind]()).eval()
    theirs.save_pretrained(str(tmp_path))
    model = load_model(base)
    assert load_adapter(model, tmp_path) == "default"
    want = their_logits(theirs)
    assert (dense(model, IDS) - want).abs().max() < 1e-5 * want.abs().max().clamp_min(1)
    if kind in ("prefix", "p-tuning", "prompt"):
        return
    merge(model, "default")
    assert (dense(model, IDS) - want).abs().max() < 1e-5 * want.abs().max().clamp_min(1)


@pytest.mark.parametrize("kind", ["lora", "dora", "prefix", "p-tuning", "prompt"])
def test_gradients_are_those_of_peft(kind: str, base: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = peft.get_peft_model(their_base(base), THEIRS[kind]())
    theirs.save_pretrained(str(tmp_path))
    if kind == "p-tuning":  # only what its network makes is saved: trained on without it
        theirs = peft.PeftModel.from_pretrained(their_base(base), str(tmp_path), is_trainable=False)
    theirs.eval()
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_("lora" in name or "prompt" in name)
    model = load_model(base)
    load_adapter(model, tmp_path, is_trainable=True)
    torch.nn.functional.cross_entropy(dense(model, IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    logits = theirs(IDS).logits[:, -IDS.shape[1] :]
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    grads = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    wanted = list(wanted_tensors(model, table_of(model), "default"))
    assert len(wanted) == len(grads)
    for key, parameter, _ in wanted:
        module, _, end = key.removesuffix(".weight").rpartition(".")
        want = grads[f"{module}.{end}.default.weight" if module else "prompt_encoder.default.embedding.weight"]
        assert parameter.grad is not None
        assert (parameter.grad - want).abs().max() < 1e-4 * want.abs().max().clamp_min(1e-2)
    assert not [name for name, one in model.named_parameters() if one.grad is not None and ".base." in name]


@pytest.mark.parametrize("targets", ["lm_head", "embed_tokens"])
def test_a_tied_table_trained_whole_stays_tied_in_peft_too(targets: str, tmp_path: Path) -> None:
    tiny(tmp_path / "base", 3, tie_word_embeddings=True)
    model = load_model(tmp_path / "base")
    attach(model, LoraSettings(r=4, trained_modules=(targets,)))
    drawn(model)
    save_adapter(model, "default", tmp_path / "out")
    theirs = peft.PeftModel.from_pretrained(their_base(tmp_path / "base"), str(tmp_path / "out")).eval()
    got = dense(model, IDS).detach()
    assert (got - their_logits(theirs)).abs().max() < 1e-5 * got.abs().max().clamp_min(1)
    again = load_model(tmp_path / "base")
    load_adapter(again, tmp_path / "out")
    assert (dense(again, IDS) - got).abs().max() < 1e-6


def test_a_head_that_peft_trained_apart_from_a_tied_table_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path / "base", 3, tie_word_embeddings=True)
    config = peft.LoraConfig(**LORA, target_modules=["q_proj"], modules_to_save=["lm_head"])
    peft.get_peft_model(their_base(tmp_path / "base"), config).save_pretrained(str(tmp_path / "out"))
    with pytest.raises(ModelUnavailable, match="trains lm_head apart, but here lm_head and tokens are one tensor"):
        load_adapter(load_model(tmp_path / "base"), tmp_path / "out")


GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 300}


@pytest.mark.parametrize("is_dora", [False, True])
def test_gpt2_keeps_query_key_and_value_as_one(is_dora: bool, tmp_path: Path) -> None:
    save_model(new_model(GPT2, seed=3), tmp_path / "base")
    model = load_model(tmp_path / "base")
    ranks = {"attention.k": 2}
    settings = LoraSettings(
        r=4,
        target_modules=("c_attn", "mlp.down"),
        trained_modules=("mlp.up", "places"),
        is_dora=is_dora,
        rank_pattern=ranks,
        alpha_pattern={"attention.v": 9.0},
    )
    attach(model, settings)
    drawn(model)
    save_adapter(model, "default", tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(their_base(tmp_path / "base"), str(tmp_path / "ours")).eval()
    got = dense(model, IDS).detach()
    assert (got - their_logits(theirs)).abs().max() < 2e-5 * got.abs().max().clamp_min(1)
    config = peft.LoraConfig(
        **LORA, target_modules=["c_attn", "mlp.c_proj"], modules_to_save=["c_fc"], use_dora=is_dora, fan_in_fan_out=True
    )
    theirs = peft.get_peft_model(their_base(tmp_path / "base"), config).eval()
    theirs.save_pretrained(str(tmp_path / "theirs"))
    detach(model, "default")
    load_adapter(model, tmp_path / "theirs")
    want = their_logits(theirs)
    assert (dense(model, IDS) - want).abs().max() < 2e-5 * want.abs().max().clamp_min(1)
    save_adapter(model, "default", tmp_path / "again")
    theirs = peft.PeftModel.from_pretrained(their_base(tmp_path / "base"), str(tmp_path / "again")).eval()
    assert (their_logits(theirs) - want).abs().max() < 2e-5 * want.abs().max().clamp_min(1)


def test_a_part_of_what_gpt2_keeps_as_one_is_not_saved(tmp_path: Path) -> None:
    model = new_model(GPT2)
    attach(model, LoraSettings(target_modules=("attention.q",)))
    with pytest.raises(UsageError, match=r"keeps transformer\.h\.0\.attn\.c_attn as one.*target 'c_attn'"):
        save_adapter(model, "default", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_encoders_and_encoder_decoders_take_it_too(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    save_model(new_model(new_config(kind, "1m", 300, 64), seed=3), tmp_path / "base")
    model = load_model(tmp_path / "base")
    plain = said(model)
    attach(model, LoraSettings(r=4, target_modules=("attention",)))
    drawn(model)
    save_adapter(model, "default", tmp_path / "ours")
    auto = AutoModelForMaskedLM if kind == "bert" else AutoModelForSeq2SeqLM
    theirs = peft.PeftModel.from_pretrained(auto.from_pretrained(tmp_path / "base"), str(tmp_path / "ours")).eval()
    with torch.inference_mode():
        want = theirs(IDS, **({} if kind == "bert" else {"decoder_input_ids": IDS})).logits
    got = said(model)
    assert (got - want).abs().max() < 2e-5 * want.abs().max().clamp_min(1)
    assert (got - plain).abs().max() > 1e-3
    with pytest.raises(UsageError, match="virtual tokens stand in the cache of a decoder"):
        attach(model, PrefixSettings(2), "prefix")


@pytest.mark.parametrize("kind", ["qwen3_moe", "qwen2_moe"])
def test_a_mixture_of_experts_keeps_its_router_and_experts(kind: str, tmp_path: Path) -> None:
    sizes = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
    tiny(tmp_path / "base", 3, model_type=kind, shared_expert_intermediate_size=24, norm_topk_prob=True, **sizes)
    model = load_model(tmp_path / "base")
    attach(model, LoraSettings(r=4, target_modules=("all-linear",), trained_modules=("norm",)))
    drawn(model)
    save_adapter(model, "default", tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(their_base(tmp_path / "base"), str(tmp_path / "ours")).eval()
    got = dense(model, IDS).detach()
    assert (got - their_logits(theirs)).abs().max() < 2e-5 * got.abs().max().clamp_min(1)


def said(model: Family) -> torch.Tensor:
    decoder = {} if model.config.model_type == "bert" else {"decoder_input_ids": IDS}
    with torch.no_grad():
        return dense(model, IDS, **decoder)
