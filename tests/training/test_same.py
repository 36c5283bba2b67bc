"""A run goes on with its own recipe; how long it runs and how a step is spread may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbook.core.errors import BadData, UsageError
from openbook.training.log import read_log
from openbook.training.recipe import as_yaml, recipe_of
from openbook.training.run import train
from openbook.training.same import check_same
from small_runs import recipe, values


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1e-5},
        {"seed": 6},
        {"batch_size": 2},
        {"max_seq_len": 8},
        {"precision": "bfloat16"},
        {"objective": "masked"},
    ],
)
def test_another_recipe_is_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    written = tmp_path / "recipe.yaml"
    written.write_text(as_yaml(recipe(tmp_path)), "utf-8")
    (key,) = change
    with pytest.raises(UsageError, match=rf"another recipe: {key}="):
        check_same(recipe(tmp_path, **change), written)


def test_another_file_is_refused(tmp_path: Path) -> None:
    train(recipe(tmp_path, steps=3, eval_every=None))
    other = values(tmp_path, steps=6, eval_every=None)
    other["data"] = other["data"] | {"train": str(Path(other["data"]["train"]).with_name("other.txt"))}
    (tmp_path / "other.txt").write_bytes((tmp_path / "text.txt").read_bytes())
    with pytest.raises(UsageError, match=r"data\.train"):
        train(recipe_of(other), resume=True)


def test_what_changes_no_step_is_let_be(tmp_path: Path) -> None:
    train(recipe(tmp_path, steps=4))
    done = train(
        recipe(tmp_path, steps=8, eval_every=2, save_every=None, keep=1, micro_batch_size=2, log_every=1), resume=True
    )
    assert done.ended == "done" and max(row["step"] for row in read_log(tmp_path / "run" / "log.jsonl")) == 8


def test_a_recipe_without_a_newer_key_has_its_default(tmp_path: Path) -> None:
    said = yaml.safe_load(as_yaml(recipe(tmp_path)))
    del said["preference"], said["max_norm"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(said), "utf-8")
    check_same(recipe(tmp_path), tmp_path / "recipe.yaml")
    with pytest.raises(UsageError, match="max_norm"):
        check_same(recipe(tmp_path, max_norm=2.0), tmp_path / "recipe.yaml")


def test_a_recipe_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    for text in ("", "- a list", "a: [", "\x00"):
        (tmp_path / "recipe.yaml").write_text(text, "utf-8")
        check_same(recipe(tmp_path), tmp_path / "recipe.yaml")
    check_same(recipe(tmp_path), tmp_path / "none.yaml")


def test_nothing_to_evaluate_on_is_told_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "tiny.txt").write_text("n", "utf-8")
    made = values(tmp_path)
    made["data"] = {"train": made["data"]["train"], "eval": str(tmp_path / "tiny.txt"), "layout": "windows"}
    with pytest.raises(BadData):
        train(recipe_of(made))
    assert not (tmp_path / "run" / "log.jsonl").exists()
