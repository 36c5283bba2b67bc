"""LoRA over a base in NF4: it learns what LoRA learns, and the base does not move."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lm.checkpoints import TINY, tiny
from openbook.core.errors import UsageError
from openbook.lm.adapters.attach import activate, adapter_parameters, attach, detach, trainable
from openbook.lm.adapters.files import load_adapter, save_adapter
from openbook.lm.adapters.merge import merge
from openbook.lm.adapters.qlora import quantize_base
from openbook.lm.adapters.settings import LoraSettings
from openbook.lm.dense import dense
from openbook.lm.families.base import Family
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.quantization.nf4 import Nf4Linear

IDS = torch.arange(24).view(3, 8) * 11 % 300
SETTINGS = LoraSettings(r=8, target_modules=("all-linear",))


def fresh() -> Family:
    model = new_model(TINY | {"model_type": "qwen2", "hidden_size": 64}, seed=2).requires_grad_(False)
    for parameter in model.parameters():
        parameter *= 3
    return model


def trained(model: Family, steps: int = 30) -> float:
    """The loss after some steps on one batch."""
    optimizer = torch.optim.AdamW(adapter_parameters(model, "default"), lr=5e-3)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(dense(model, IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def test_it_learns_nearly_what_lora_learns_and_the_base_stays() -> None:
    plain, model = fresh(), fresh()
    start = torch.nn.functional.cross_entropy(dense(plain, IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).item()
    attach(plain, SETTINGS)
    found = quantize_base(model)
    assert found.layers == 2 * 7
    assert found.after_bytes * 8 / (found.before_bytes / 4) == pytest.approx(4.14, abs=0.02)
    base = dense(model, IDS)
    bytes_before = {name: value.clone() for name, value in model.named_buffers()}
    attach(model, SETTINGS)
    assert torch.equal(dense(model, IDS), base)
    lora, qlora = trained(plain), trained(model)
    assert qlora < 0.5 * start
    assert abs(qlora - lora) < 0.03 * start
    activate(model, None)
    assert torch.equal(dense(model, IDS), base)
    detach(model, "default")
    assert {name: torch.equal(value, bytes_before[name]) for name, value in model.named_buffers()} == dict.fromkeys(
        bytes_before, True
    )


def test_its_adapter_loads_on_the_plain_base_and_merges_there_only(tmp_path: Path) -> None:
    tiny(tmp_path / "base", 1)
    model = load_model(tmp_path / "base")
    quantize_base(model)
    attach(model, SETTINGS)
    trained(model, 3)
    save_adapter(model, "default", tmp_path / "adapter")
    with pytest.raises(UsageError, match=r"base is packed \(layers\.0\.attention\.q\).*merge there"):
        merge(model, "default")
    with pytest.raises(ValueError, match="is packed"):
        save_model(model, tmp_path / "out")
    plain = load_model(tmp_path / "base")
    load_adapter(plain, tmp_path / "adapter")
    again = load_model(tmp_path / "base")
    quantize_base(again)
    load_adapter(again, tmp_path / "adapter")
    assert torch.equal(dense(again, IDS), dense(model, IDS).detach())
    merge(plain, "default")


@pytest.mark.parametrize("is_dora", [False, True])
def test_dora_measures_the_weights_that_the_bytes_stand_for(is_dora: bool) -> None:
    model, floats = fresh(), fresh()
    quantize_base(model)
    for name, module in model.named_modules():
        if isinstance(module, Nf4Linear):
            floats.get_submodule(name).weight.data = module.dequantized()
    for one in (model, floats):
        attach(one, LoraSettings(is_dora=is_dora))
        with torch.no_grad():
            for parameter in adapter_parameters(one, "default"):
                parameter += 0.1
    assert (dense(model, IDS) - dense(floats, IDS)).abs().max() < 1e-4


def test_the_share_counts_the_weights_and_not_the_bytes() -> None:
    plain, model = fresh(), fresh()
    quantize_base(model)
    assert attach(model, SETTINGS) == attach(plain, SETTINGS)
    detach(model, "default")
    assert trainable(model).trained == 0


def test_a_base_with_adapters_or_twice_is_refused() -> None:
    model = fresh()
    attach(model, SETTINGS)
    with pytest.raises(UsageError, match="has adapters"):
        quantize_base(model)
    detach(model, "default")
    assert str(quantize_base(model)).startswith("14 linear layers in NF4: 0.0 MiB instead of 0.")
    with pytest.raises(UsageError, match="in NF4 already"):
        quantize_base(model)
