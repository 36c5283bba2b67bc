"""A reader by a recipe: it learns, goes on to the bit, and reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import small_questions
from openbook.core.errors import BadData, UsageError
from openbook.library.embed.adapted import open_reader
from openbook.training.log import read_log
from openbook.training.run import train
from small_questions import recipe

ADAPTER = {"kind": "lora", "r": 4, "target_modules": "all-linear"}


@pytest.mark.parametrize("adapter", [None, ADAPTER], ids=["whole", "adapter"])
def test_it_learns_and_reads(tmp_path: Path, adapter: dict[str, Any] | None) -> None:
    said: list[str] = []
    done = train(recipe(tmp_path, steps=80, batch_size=24, lr=4e-3, eval_every=80, adapter=adapter), say=said.append)
    rows = [dict(row) for row in read_log(tmp_path / "run" / "log.jsonl")]
    assert rows[-1]["eval_loss"] < 0.8 * rows[0]["loss"]
    assert any("questions held out" in line for line in said)
    assert done.model is not None
    base = tmp_path / "base"
    reader = open_reader(base, done.model, "float32") if adapter else open_reader(done.model, precision="float32")
    passage = "The cat is of to for. The dog is in on are."
    found = reader.read([("What is the dog?", passage)])[0]
    assert 0 <= found.start < found.end <= len(passage)


def test_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = recipe(tmp_path, micro_batch_size=3)
    train(whole)
    halves = whole.model_copy(update={"out": str(tmp_path / "halves")})

    def stop(status: Any) -> None:
        if status.step.number == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(halves, watch=stop)
    train(halves, resume=True)
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("run", "halves"))
    assert one == other


def test_articles_that_are_held_out_are_not_learned(tmp_path: Path) -> None:
    path = str(small_questions.written(tmp_path / "same.json"))
    with pytest.raises(BadData, match="is in the training data"):
        train(recipe(tmp_path, data={"train": path, "eval": path}))


def test_settings_of_text_are_refused(tmp_path: Path) -> None:
    data = {"train": str(small_questions.written(tmp_path / "one.json")), "layout": "windows"}
    with pytest.raises(UsageError, match=r"data\.layout is read by"):
        train(recipe(tmp_path, data=data))


def test_shares_leave_answerable_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave nothing"):
        recipe(tmp_path, reader={"changed": 0.9, "without": 0.1})
