"""Before and after a fine-tune: each kind of model is asked, the same weights answer the same, what is told is written."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import BadData
from openbook.lm.families.base import Family
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.presets import new_config
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.forgetting import Forgetting, read_probes
from openbook.training.forgetting_measures import Probe, measure_of
from openbook.training.run import train
from openbook.training.special_tokens import with_special_tokens
from small_runs import SHAPE, recipe

TEXT = "Nothing is known of it, and nobody has asked. " * 6
SMALL: dict[str, dict[str, Any]] = {
    "llama": SHAPE,
    "bert": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2},
}
OBJECTIVES: dict[str, Any] = {"llama": "next_token", "bert": "masked", "t5": "spans"}


def known(family: str, **changes: Any) -> tuple[Family, Tokenizer]:
    tokenizer = with_special_tokens(default_tokenizer(600), OBJECTIVES[family])
    return new_model(new_config(family, "1m", tokenizer.vocab_size, 128) | SMALL[family] | changes), tokenizer


def forgetting(model: Family, tokenizer: Tokenizer, *probes: Probe) -> Forgetting:
    return Forgetting(measure_of(model, tokenizer, 64), {"text": TEXT}, probes)


def changed(model: Family) -> None:
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize(
    ("family", "changes", "name", "start"),
    [
        ("llama", {}, "text, perplexity", 608),
        ("bert", {}, "text, loss", math.log(613)),
        ("t5", {}, "text, loss", math.log(708)),
        ("bert", {"architectures": ["BertModel"]}, "text, mean cosine of vectors", 1.0),
        ("t5", {"architectures": ["T5EncoderModel"]}, "text, mean cosine of vectors", 1.0),
    ],
)
def test_each_kind_of_model_is_asked(family: str, changes: dict[str, Any], name: str, start: float) -> None:
    """A fresh model guesses; the same weights say the same, others do not; nothing else is changed."""
    model, tokenizer = known(family, **changes)
    found = forgetting(model, tokenizer, Probe("One and", " two"))
    state = torch.get_rng_state()
    model.train()
    found.ask_before(model)
    found.ask_after(model)
    assert found.before == found.after
    assert found.before[name] == pytest.approx(start, rel=0.1)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    changed(model)
    found.ask_after(model)
    assert found.after[name] != pytest.approx(found.before[name], rel=1e-3)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_probe_is_right_when_the_answer_is_the_likeliest(family: str) -> None:
    model, tokenizer = known(family)
    answer = tokenizer.encode(".", add_special_tokens=False)
    assert len(answer) == 1
    model.requires_grad_(False)
    table = model.get_parameter("tokens.weight")
    right, wrong = Probe("One and", "."), Probe("One and", "?")
    for one in model.parameters():
        if one.ndim == 1 and one.shape[0] == 32:
            one.fill_(0.5)  # what comes to the head is no longer near 0 on the mean
    if family == "bert":
        model.get_parameter("lm_head.decoder.bias")[answer[0]] = 50.0
    else:
        table[:] = 0.0
        table[:, 0] = 0.01
        table[answer[0], 0] = 5.0
    found = forgetting(model, tokenizer, right, wrong)
    found.ask_before(model)
    assert found.before["2 probes, right"] == 0.5
    assert found.before["2 probes, log-probability"] < 0


def base(folder: Path) -> Path:
    model, tokenizer = known("llama")
    save_model(model, folder / "base")
    tokenizer.save(folder / "base")
    return folder / "base"


def fine_tune(folder: Path, **changes: Any) -> list[str]:
    said: list[str] = []
    more = {"model": {"path": str(base(folder))}, "save_every": None, "eval_every": None, "steps": 4} | changes
    train(recipe(folder, **more), say=said.append)
    return [line for line in said if line.startswith("forgetting")]


@pytest.mark.parametrize("adapter", [None, {"kind": "lora", "r": 4}, {"kind": "prompt", "num_virtual_tokens": 4}])
def test_a_fine_tune_tells_what_it_forgets(tmp_path: Path, adapter: dict[str, Any] | None) -> None:
    lines = fine_tune(tmp_path, adapter=adapter, lr=0.05)
    said = json.loads((tmp_path / "run" / "forgetting.json").read_text("utf-8"))
    rows = {row["name"]: row for row in said["measures"]}
    assert said["texts"] == ["en.txt", "zh.txt"]
    assert rows["en.txt, perplexity"]["before"] == pytest.approx(608, rel=0.15)
    assert rows["en.txt, perplexity"]["before"] != rows["en.txt, perplexity"]["after"]
    assert len(lines) == len(rows) == 4
    assert "what was known before" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_it_is_of_the_model_that_is_kept(tmp_path: Path) -> None:
    """After 6 steps of a rate that is far too high the third evaluation is not the best."""
    changes = {"lr": 1.0, "schedule": "constant", "warmup": 5, "steps": 6, "eval_every": 2, "keep": 1}
    fine_tune(tmp_path, **changes)
    said = json.loads((tmp_path / "run" / "forgetting.json").read_text("utf-8"))["measures"][0]
    tokenizer = Tokenizer.load(tmp_path / "run" / "model")
    kept = load_model(tmp_path / "run" / "model")
    text = (Path(__file__).parents[2] / "src/openbook/training/general/en.txt").read_text("utf-8")
    found = Forgetting(measure_of(kept, tokenizer, 16), {"en.txt": text}, [])
    found.ask_after(kept)
    assert found.after["en.txt, perplexity"] == pytest.approx(said["after"], rel=1e-5)


def test_it_is_off_where_the_recipe_says_so_and_for_a_fresh_model(tmp_path: Path) -> None:
    assert fine_tune(tmp_path, forgetting=False) == []
    shutil.rmtree(tmp_path / "run")
    train(recipe(tmp_path, steps=2, save_every=None, eval_every=None))
    assert not (tmp_path / "run" / "forgetting.json").exists()


def test_own_texts_and_probes(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text(TEXT, "utf-8")
    (tmp_path / "own.jsonl").write_text('{"prompt": "One and", "answer": " two"}\n\n', "utf-8")
    own = {"texts": str(tmp_path / "own.txt"), "probes": str(tmp_path / "own.jsonl")}
    lines = fine_tune(tmp_path, forgetting=own)
    assert lines[0].startswith("forgetting: own.txt, perplexity")
    assert "1 probes" in lines[-1]
    (tmp_path / "own.jsonl").write_text('{"prompt": "One and"}\n', "utf-8")
    with pytest.raises(BadData, match="line 1 of"):
        read_probes(tmp_path / "own.jsonl")
