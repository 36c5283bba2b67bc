"""A chat model learns from files of chats by the recipe that ships, whole and with every adapter; what it learns it then says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.lm.adapters.files import load_adapter
from openbook.lm.generate import generate
from openbook.lm.load import load_model, new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.log import read_log
from openbook.training.recipe import Recipe, read_recipe
from openbook.training.run import train
from small_runs import SHAPE

SFT = Path(__file__).resolve().parents[2] / "recipes" / "sft.yaml"
KINDS = ["lora", "qlora", "dora", "prefix", "p-tuning", "prompt", "houlsby"]


def save_base(folder: Path, **shape: Any) -> Path:
    tokenizer = default_tokenizer(400)
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    config = {"model_type": "llama", "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 256} | special
    save_model(new_model(config | SHAPE | shape, seed=3), folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"))


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def alpaca(folder: Path) -> Path:
    rows = [{"instruction": f"Say {at % 5}.", "input": "", "output": f"I say {at % 5}."} for at in range(40)]
    return written(folder / "alpaca.jsonl", rows)


def chats(folder: Path) -> Path:
    """Of two turns, some with a tool and a thought."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    rows: list[dict[str, Any]] = []
    for at in range(30):
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": f"{at % 3}?"},
        ]
        if at % 10 == 0:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "add"})
            messages.append({"role": "tool", "content": "1", "tool_call_id": "1"})
        messages.append({"role": "assistant", "content": f"{at % 3}!"})
        rows.append({"messages": messages} | ({"tools": [tool]} if at % 10 == 0 else {}))
    return written(folder / "chats.jsonl", rows)


def recipe(base: Path, data: Path, *changes: str) -> Recipe:
    small = (
        "max_seq_len=250",
        "batch_size=2",
        "lr=3e-3",
        "steps=16",
        "epochs=null",
        "eval_every=8",
        "forgetting=false",
    )
    places = (f"model.path={base}", f"data.train={data}", f"out={data.parent / 'run'}", "data.eval_share=0.2")
    return read_recipe(SFT, [*places, *small, *changes])


def losses(one: Recipe) -> list[float]:
    return [row["loss"] for row in read_log(Path(one.out) / "log.jsonl") if "loss" in row]


@pytest.mark.parametrize("make", [chats, alpaca])
def test_a_chat_model_learns_from_chats(base: Path, tmp_path: Path, make: Any) -> None:
    said: list[str] = []
    one = recipe(base, make(tmp_path))
    done = train(one, say=said.append)
    found = losses(one)
    assert sum(found[-3:]) < 0.8 * sum(found[:3])
    assert done.model is not None
    assert (done.model / "chat_template.jinja").is_file()
    assert any("as packed" in line for line in said)
    assert any(
        f"{make.__name__ if make is alpaca else 'messages'} rows: " in line and "% learned)" in line for line in said
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_adapter_by_the_same_recipe(base: Path, tmp_path: Path, kind: str) -> None:
    """Virtual tokens begin as noise that hardly moves in so few steps: of these only that they are trained."""
    one = recipe(base, alpaca(tmp_path), f"adapter.kind={kind}", "steps=4", "eval_every=4", "lr=1e-2")
    done = train(one)
    assert done.model is not None
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in done.model.iterdir()}
    assert not (done.model / "model.safetensors").exists()
    assert len(losses(one)) == 4
    if kind != "qlora":
        assert load_adapter(load_model(base), done.model)


def test_a_base_without_a_template_is_refused_or_asked_as_alpaca_did(base: Path, tmp_path: Path) -> None:
    plain = save_base(tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()
    with pytest.raises(ModelUnavailable, match="has no chat template"):
        train(recipe(plain, alpaca(tmp_path), "steps=2"))
    assert train(recipe(plain, alpaca(tmp_path), "steps=2", "data.prompts=alpaca")).done == 2


def test_a_run_on_a_mixture_is_the_same_to_the_bit_when_it_is_gone_on_with(base: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("What was learned before. " * 200, "utf-8")
    mixed = (f"data.replay={old}", "data.replay_share=0.25", "save_every=3", "steps=8", "eval_every=8")
    whole = recipe(base, chats(tmp_path), *mixed)
    train(whole)
    halves = recipe(base, tmp_path / "chats.jsonl", *mixed, f"out={tmp_path / 'halves'}")

    def stop(status: Any) -> None:
        if status.step.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    first, second = (Path(one.out) / "model" / "model.safetensors" for one in (whole, halves))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_it_memorises_64_chats_and_stops(tmp_path: Path) -> None:
    """Answers that nothing but memory can tell: each comes back to the letter, and ends."""
    draw = random.Random(1)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "tu") for b in ("ra", "ne", "so", "vi")]
    pairs = [(f"What is number {at}?", " ".join(draw.choices(words, k=4))) for at in range(64)]
    data = written(tmp_path / "chats.jsonl", [{"question": asked, "answer": told} for asked, told in pairs])
    base = save_base(tmp_path / "base", hidden_size=96, intermediate_size=256, num_attention_heads=6)
    changes = ("steps=500", "batch_size=4", "max_seq_len=256", "data.eval_share=0", "eval_every=null")
    done = train(recipe(base, data, *changes, "lr=4e-3"))
    assert done.model is not None
    model, tokenizer = load_model(done.model), Tokenizer.load(done.model)
    prompts = [
        tokenizer.render([{"role": "user", "content": asked}], add_generation_prompt=True, spans=False).ids
        for asked, _ in pairs
    ]
    said = generate(model, prompts, 60, stop=tokenizer.eos_ids)
    assert [tokenizer.decode(ids) for ids in said] == [f"{told}<|im_end|>" for _, told in pairs]
