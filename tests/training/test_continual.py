"""A recipe that holds on to what was learned: the penalty is told, a resumed run is the same, what cannot be is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from openbook.core.errors import UsageError
from openbook.lm.load import new_model, save_model
from openbook.lm.presets import new_config
from openbook.lm.stored import Stored
from openbook.lm.tokenizers.characters import character_tokenizer
from openbook.training.log import read_log
from openbook.training.recipe import Recipe
from openbook.training.run import train
from small_runs import SHAPE, recipe, text_file


def fine_tune(folder: Path, **changes: Any) -> Recipe:
    """Of a model whose tokens are the characters of the text."""
    tokenizer = character_tokenizer([text_file(folder).read_text("utf-8")])
    save_model(new_model(new_config("llama", "1m", tokenizer.vocab_size, 16) | SHAPE), folder / "base")
    tokenizer.save(folder / "base")
    (folder / "old.txt").write_text("two and four and six. " * 40, "utf-8")
    held = {"ewc": {"weight": 10.0, "data": str(folder / "old.txt"), "samples": 5}, "l2sp": 0.1, "freeze": [0]}
    more = {"model": {"path": str(folder / "base")}, "forgetting": False, "eval_every": None, "continual": held}
    return recipe(folder, **(more | changes))


def test_the_penalty_is_told_and_a_resumed_run_is_the_same_to_the_bit(tmp_path: Path) -> None:
    said: list[str] = []
    one, run = fine_tune(tmp_path), tmp_path / "run"
    train(one, say=said.append)
    rows = [row for row in read_log(run / "log.jsonl") if "loss" in row]
    assert rows[0]["penalty"] == 0
    assert all(row["penalty"] > 0 for row in rows[1:])
    assert any(line.startswith("frozen:") for line in said)
    first, last = Stored(tmp_path / "base"), Stored(run / "model")
    for name in first:
        assert torch.equal(first[name], last[name]) == (".layers.0." in name)
    for step in (9, 12):
        shutil.rmtree(run / f"step-{step:08d}", ignore_errors=True)
    train(one, resume=True)
    again = [row for row in read_log(run / "log.jsonl") if "loss" in row]
    assert [(row["loss"], row["penalty"]) for row in again] == [(row["loss"], row["penalty"]) for row in rows]


@pytest.mark.parametrize(
    "changes", [{"adapter": {"kind": "lora"}}, {"model": {"size": "1m", "tokenizer": "characters"}}]
)
def test_only_weights_of_a_trained_model_are_held(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="holds weights of a trained model"):
        fine_tune(tmp_path, **changes)
