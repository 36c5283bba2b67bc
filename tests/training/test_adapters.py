"""Each adapter by a recipe: it learns, the base stays as it is, its files load, and a run goes on to the bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from openbook.core.errors import RunStopped, UsageError
from openbook.lm.adapters.attach import attach
from openbook.lm.adapters.files import load_adapter
from openbook.lm.adapters.lora import Lora
from openbook.lm.adapters.origin import origin_of
from openbook.lm.adapters.qlora import quantize_base
from openbook.lm.adapters.slot import slots_of
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.training import begin
from openbook.training.evaluate import evaluate
from openbook.training.log import read_log
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, recipe_of
from openbook.training.run import open_run, train
from small_runs import SHAPE, text_file, values

ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "target_modules": "all-linear"},
    "qlora": {"r": 4, "target_modules": "all-linear"},
    "dora": {"r": 4},
    "prefix": {"num_virtual_tokens": 4},
    "p-tuning": {"num_virtual_tokens": 4, "projection_size": 16},
    "prompt": {"num_virtual_tokens": 4, "initial_text": "one and "},
    "houlsby": {"size": 4},
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model whose weights are wide enough for adapters to do something."""
    tokenizer = character_tokenizer([text_file(tmp_path).read_text("utf-8")])
    config = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64}
    model = new_model(config | {"tie_word_embeddings": False} | SHAPE, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    save_model(model, tmp_path / "base")
    tokenizer.save(tmp_path / "base")
    return tmp_path / "base"


def adapter_recipe(base: Path, kind: str, **changes: Any) -> Recipe:
    adapter = {"kind": kind} | ADAPTERS[kind]
    own: Mapping[str, Any] = {
        "model": {"path": str(base)},
        "adapter": adapter,
        "lr": 1e-2,
        "steps": 20,
        "eval_every": None,
    }
    return recipe_of(values(base.parent, **{**own, "save_every": 7, **changes}))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_it_learns_and_the_base_stays(base: Path, kind: str) -> None:
    before = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    origin = origin_of(load_model(base))
    one = adapter_recipe(base, kind, lr=0.1 if kind == "prefix" else 1e-2)
    said: list[str] = []
    done = train(one, say=said.append)
    rows = list(read_log(base.parent / "run" / "log.jsonl"))
    losses = [row["loss"] for row in rows if "loss" in row]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest() == before
    assert any("parameters are trained" in line for line in said)
    assert done.model is not None
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= {
        p.name for p in done.model.iterdir()
    }
    assert not (done.model / "model.safetensors").exists()
    config = json.loads((done.model / "adapter_config.json").read_text("utf-8"))
    assert config
    model = load_model(base, torch.float32)
    if kind == "qlora":
        quantize_base(model)
    assert load_adapter(model, done.model)
    run = open_run(one, Ranks())
    found = evaluate(model, run.task.objective, run.task.held_out(), Ranks())
    assert found.loss == pytest.approx(rows[-1]["eval_loss"], abs=1e-4)
    assert origin_of(load_model(base)) == origin


@pytest.mark.parametrize("kind", ["lora", "p-tuning"])
def test_it_goes_on_to_the_bit(base: Path, kind: str) -> None:
    train(adapter_recipe(base, kind))
    halves = adapter_recipe(base, kind, out=str(base.parent / "halves"))

    def stop(status: Any) -> None:
        if status.step.number == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    first, second = (base.parent / name / "model" / "adapter_model.safetensors" for name in ("run", "halves"))
    expected, found = load_file(first), load_file(second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("kind", ["lora", "qlora", "dora", "houlsby"])
def test_it_begins_equal_to_the_base(base: Path, kind: str) -> None:
    said: list[str] = []
    train(adapter_recipe(base, kind, steps=2), say=said.append)
    assert "the adapter begins equal to the base" in said


def test_one_that_does_not_is_stopped(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun_elsewhere(model: Any, *rest: Any, **named: Any) -> Any:
        done = attach(model, *rest, **named)
        with torch.no_grad():
            for _, slot in slots_of(model):
                change = slot.changes["default"]
                assert isinstance(change, Lora)
                change.b.fill_(0.1)
        return done

    monkeypatch.setattr(begin, "attach", begun_elsewhere)
    with pytest.raises(RunStopped, match="fresh adapter changes the loss"):
        train(adapter_recipe(base, "lora"))


def test_a_setting_of_another_kind_is_refused(base: Path) -> None:
    with pytest.raises(UsageError, match=r"adapter\.size is no setting of lora"):
        train(adapter_recipe(base, "lora", adapter={"kind": "lora", "size": 3}))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_frozen_weights_take_the_format_of_the_products_and_change_nothing(
    base: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = {out: adapter_recipe(base, kind, precision="bfloat16", out=str(base / out)) for out in ("narrow", "wide")}
    losses = {}
    for out, chosen in recipes.items():
        if out == "wide":
            monkeypatch.setattr("openbook.training.run.narrow_frozen", lambda *_: None)
        opened = open_run(chosen, Ranks())
        losses[out] = [opened.loop.step().loss for _ in range(4)]
        frozen = {
            name: one.dtype
            for name, one in opened.begun.model.named_parameters()
            if not one.requires_grad and one.ndim == 2
        }
        is_narrow = out == "narrow" and kind == "lora"
        assert frozen.pop("tokens.weight") == torch.float32
        assert set(frozen.values()) == {torch.bfloat16 if is_narrow else torch.float32}
    assert losses["narrow"] == losses["wide"]
