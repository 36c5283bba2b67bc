"""Files of adapters: what is written is read again, and what is broken or for another base is refused before anything changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.checkpoints import TINY, tiny
from openbook.core.errors import ModelUnavailable, UsageError
from openbook.lm.adapters.attach import adapter_parameters, attach
from openbook.lm.adapters.files import CONFIG, TENSORS, load_adapter, save_adapter
from openbook.lm.adapters.origin import origin_of
from openbook.lm.adapters.settings import (
    BottleneckSettings,
    LoraSettings,
    PrefixSettings,
    PromptSettings,
    Settings,
)
from openbook.lm.convert import convert
from openbook.lm.dense import dense
from openbook.lm.families.base import Family
from openbook.lm.fresh import write_fresh, write_merged
from openbook.lm.load import load_model, new_model
from openbook.lm.tokenizers.tokenizer import Tokenizer

IDS = torch.arange(14).view(2, 7) * 11 % 300
KINDS: dict[str, Settings] = {
    "lora": LoraSettings(r=4, is_dora=True, rank_pattern={"layers.0.attention.v": 2}, trained_modules=("norm",)),
    "bottleneck": BottleneckSettings(size=6, activation="relu"),
    "prefix": PrefixSettings(3, projection_size=5),
    "prompt": PromptSettings(3),
}


def saved(directory: Path, settings: Settings, seed: int = 4) -> tuple[Family, torch.Tensor]:
    """An adapter in `directory` on a drawn base; the base alone again, and what the adapter said."""
    model = new_model(TINY, seed=seed)
    attach(model, settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in adapter_parameters(model, "default"):
            parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    save_adapter(model, "default", directory)
    return new_model(TINY, seed=seed), dense(model, IDS).detach()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_loaded(kind: str, tmp_path: Path) -> None:
    model, want = saved(tmp_path, KINDS[kind])
    load_adapter(model, tmp_path, "again", is_trainable=True)
    assert (dense(model, IDS) - want).abs().max() < 1e-6
    assert all(parameter.requires_grad for parameter in adapter_parameters(model, "again"))
    save_adapter(model, "again", tmp_path / "twice")
    once, twice = (load_file(folder / TENSORS) for folder in (tmp_path, tmp_path / "twice"))
    assert {name: bool((value == twice[name]).all()) for name, value in once.items()} == dict.fromkeys(twice, True)
    assert not list(tmp_path.glob(".*"))


def test_the_base_of_another_is_refused_with_both_hashes(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, KINDS["lora"])
    other = new_model(TINY, seed=9)
    with pytest.raises(ModelUnavailable, match=f"made for the base {origin_of(model)}, this .* {origin_of(other)}"):
        load_adapter(other, tmp_path)


def without_key(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(name for name in tensors if "lora_B" in name)]


def with_more(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 32)


def wider(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = torch.zeros(4, 33)


def scalar(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.model.norm.weight"] = torch.zeros(())


def empty(config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors.clear()


def setting(**changes: Any) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    return lambda config, tensors: config.update(changes)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (without_key, r"lacks base_model\S+lora_B.weight and 0 more"),
        (with_more, r"layers\.7\S+, which belongs to no module of this model"),
        (wider, r"lora_A.weight is \(4, 33\), this model needs \(4, 32\)"),
        (scalar, r"norm.weight is \(\), this model needs \(32,\)"),
        (empty, "has no tensors of an adapter"),
        (setting(use_dora=False), "lora_magnitude_vector, which its config does not speak of"),
        (setting(r=5), r"lora_A.weight is \(4, 32\), its config says 5 rows"),
        (setting(r=10**12), "its config says 1000000000000 rows"),
        (setting(lora_alpha=float("inf")), "alpha inf is no number"),
        (setting(r=0), "rank 0 is none"),
        (setting(r="many"), "invalid literal"),
        (setting(peft_type="IA3"), "of kind 'IA3': known are LORA, PREFIX_TUNING, PROMPT_TUNING"),
        (setting(bias="all"), "sets bias to 'all', which is not made here"),
        (setting(init_lora_weights="pissa"), "sets init_lora_weights to 'pissa'"),
        (setting(trainable_token_indices=[3]), r"sets trainable_token_indices to \[3\]"),
        (setting(rank_pattern={"^layers.[0-9]": 3}), "rank_pattern has the expression"),
        (setting(rank_pattern=[1]), "AttributeError"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_model_stays(change: Any, what: str, tmp_path: Path) -> None:
    model, _ = saved(tmp_path, KINDS["lora"])
    config, tensors = json.loads((tmp_path / CONFIG).read_text()), load_file(tmp_path / TENSORS)
    change(config, tensors)
    (tmp_path / CONFIG).write_text(json.dumps(config))
    save_file(tensors, tmp_path / TENSORS)
    want = dense(model, IDS)
    with pytest.raises((ModelUnavailable, UsageError), match=what):
        load_adapter(model, tmp_path)
    assert torch.equal(dense(model, IDS), want)
    assert not hasattr(model, "adapters")
    attach(model, LoraSettings())  # the name is free


@pytest.mark.parametrize("kind", ["bottleneck", "prefix", "prompt"])
def test_more_than_the_file_holds_is_refused_before_memory_is_spent(kind: str, tmp_path: Path) -> None:
    model, _ = saved(tmp_path, KINDS[kind])
    config = json.loads((tmp_path / CONFIG).read_text())
    key = "size" if kind == "bottleneck" else "num_virtual_tokens"
    (tmp_path / CONFIG).write_text(json.dumps(config | {key: 10**12}))
    with pytest.raises(ModelUnavailable, match="its config says 1000000000000 rows"):
        load_adapter(model, tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    first = next(name for name in tensors if "down_bias" not in name and "up" not in name)
    save_file({"more" if name == first else name: value for name, value in tensors.items()}, tmp_path / TENSORS)
    with pytest.raises(ModelUnavailable, match="lacks "):
        load_adapter(model, tmp_path)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, KINDS["lora"])
    whole = (tmp_path / TENSORS).read_bytes()
    (tmp_path / TENSORS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelUnavailable, match=r"adapter_model\.safetensors cannot be read"):
        load_adapter(model, tmp_path)
    (tmp_path / TENSORS).rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ModelUnavailable, match=r"has no adapter_model\.safetensors: save it again with safe_ser"):
        load_adapter(model, tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(ModelUnavailable, match=r"has no adapter_config\.json: name the directory of an adapter"):
        load_adapter(model, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match=r"has no adapter_config\.json: it holds a whole model"):
        load_adapter(model, tmp_path)
    with pytest.raises(ModelUnavailable, match="none' is not a directory: name the directory of an adapter"):
        load_adapter(model, tmp_path / "none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_finite_numbers_are_refused_by_name(kind: str, value: float, tmp_path: Path) -> None:
    model, _ = saved(tmp_path, KINDS[kind])
    want, tensors = dense(model, IDS), load_file(tmp_path / TENSORS)
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[-1] = value
    save_file(tensors, tmp_path / TENSORS)
    with pytest.raises(ModelUnavailable, match=f"{re.escape(name)} holds NaN or infinity: take an earlier save"):
        load_adapter(model, tmp_path)
    assert torch.equal(dense(model, IDS), want)


@pytest.mark.parametrize("kind", ["bottleneck", "prefix", "prompt"])
def test_kinds_that_no_weight_can_hold_are_not_merged_and_say_so_before_the_base_is_loaded(
    kind: str, tmp_path: Path
) -> None:
    saved(tmp_path, KINDS[kind])
    with pytest.raises(UsageError, match=f"is a {kind} adapter: .* cannot be merged") as raised:
        write_merged(tmp_path / "no base", tmp_path, tmp_path / "out")
    assert "load_adapter" in raised.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_base_and_its_adapter_become_one_checkpoint(tmp_path: Path) -> None:
    tiny(tmp_path / "base", 4)
    model = load_model(tmp_path / "base")
    attach(model, KINDS["lora"])
    with torch.no_grad():
        for parameter in adapter_parameters(model, "default"):
            parameter += 0.1
    save_adapter(model, "default", tmp_path / "adapter")
    write_merged(tmp_path / "base", tmp_path / "adapter", tmp_path / "out")
    got, want = dense(load_model(tmp_path / "out"), IDS), dense(model, IDS)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_a_base_that_is_a_gguf_file_gives_its_tokenizer_to_the_whole(tmp_path: Path) -> None:
    write_fresh(tmp_path / "base", "llama", "1m", max_seq_len=64)
    convert(tmp_path / "base", tmp_path / "base.gguf", "gguf", "float32")
    model = load_model(tmp_path / "base.gguf")
    attach(model, LoraSettings())
    save_adapter(model, "default", tmp_path / "adapter")
    write_merged(tmp_path / "base.gguf", tmp_path / "adapter", tmp_path / "out")
    assert Tokenizer.load(tmp_path / "out").encode("a b") == Tokenizer.load(tmp_path / "base").encode("a b")


@pytest.mark.parametrize("name", ["r", "lora_alpha"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_setting_that_is_no_finite_number_is_refused(name: str, value: float, tmp_path: Path) -> None:
    model, _ = saved(tmp_path, LoraSettings(r=4))
    (tmp_path / CONFIG).write_text(json.dumps(json.loads((tmp_path / CONFIG).read_text()) | {name: value}))
    with pytest.raises(ModelUnavailable):
        load_adapter(model, tmp_path)
