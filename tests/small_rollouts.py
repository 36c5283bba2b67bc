"""Small rollouts for tests: a model that can write anything, prompts of a few tokens, and rewards that a test can compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openbook.core.messages import SamplingParams
from openbook.lm.families.base import Family
from openbook.lm.load import new_model, save_model
from openbook.lm.tokenizers.default import default_tokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.recipe import Recipe, recipe_of
from openbook.training.rollouts.writer import EngineWriter
from small_runs import SHAPE

VOCABULARY = 320


def tokenizer() -> Tokenizer:
    return default_tokenizer(VOCABULARY)


def raw() -> dict[str, Any]:
    made = tokenizer()
    special = {"bos_token_id": made.bos_id, "eos_token_id": made.eos_id, "pad_token_id": made.pad_id}
    return {"model_type": "llama", "vocab_size": made.vocab_size, "max_position_embeddings": 128} | special | SHAPE


def model(seed: int = 0) -> Family:
    return new_model(raw() | {"tie_word_embeddings": True}, seed=seed)


def save_base(folder: Path) -> Path:
    save_model(model(), folder)
    tokenizer().save(folder)
    return folder


def writer(of: Family, temperature: float = 1.0, **named: Any) -> EngineWriter:
    end = tokenizer().eos_id
    assert end is not None
    said = {"max_seq_len": 64, **named}
    return EngineWriter(of, [end], SamplingParams(temperature=temperature), **said)


def prompts_file(folder: Path, count: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prompts.jsonl"
    rows = [
        {"prompt": f"say {word}", "answer": str(number)} for number, word in enumerate(["one", "two", "six"] * count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]), "utf-8")
    return path


REWARD = '''
def shares(completions, **_):
    """Share of vowels."""
    return [sum(c in "aeiou" for c in one) / max(len(one), 1) for one in completions]
'''


def reward_file(folder: Path, source: str = REWARD) -> str:
    path = folder / "reward.py"
    path.write_text(source, "utf-8")
    return f"{path}:shares"


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Of a run of `grpo`; a change of a part is put over what stands there."""
    base = folder / "base"
    if not base.is_dir():
        save_base(base)
    found: dict[str, Any] = {
        "objective": "grpo",
        "model": {"path": str(base)},
        "data": {"train": str(prompts_file(folder)), "prompts": "text"},
        "grpo": {"variant": "dr_grpo"},
        "rollout": {"completions": 4, "max_tokens": 6, "samples": 2, "limits": {"most_entropy": None}},
        "rewards": [{"builtin": "regex", "pattern": "[aeiou]"}],
        "steps": 4,
        "batch_size": 8,
        "max_seq_len": 32,
        "lr": 1e-3,
        "forgetting": False,
        "seed": 3,
        "out": str(folder / "run"),
    }
    for name, value in changes.items():
        is_part = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = found[name] | value if is_part else value
    return {name: value for name, value in found.items() if value is not None}


def recipe(folder: Path, **changes: Any) -> Recipe:
    return recipe_of(values(folder, **changes))
