"""Each objective reads its own settings; what it does not read is refused by name, unless it is as by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from openbook.core.errors import UsageError
from openbook.training.recipe import ObjectiveName, Recipe, as_yaml, read_recipe, recipe_of
from openbook.training.recipe_reads import DATA, FORMATS, PARTS

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
OBJECTIVES = get_args(ObjectiveName)
OTHER: dict[str, Any] = {
    "rerank": {"loss": "pointwise"},
    "contrastive": {"symmetric": True},
    "masked": {"share": 0.2},
    "spans": {"mean_length": 4},
    "reader": {"stride": 64},
    "next_sentence": {"others": 2},
    "classifier": {"labels": ["a", "b"]},
    "reward": {"center": 0.1},
    "preference": {"beta": 0.2},
    "grpo": {"variant": "gspo"},
    "distill": {"temperature": 2.0},
    "ppo": {"lam": 0.9},
    "rollout": {"limits": {"patience": 3}},
    "rewards": [{"builtin": "number"}],
}
"""Of each part something that is not its default."""
OTHER_DATA: dict[str, Any] = {
    "layout": "packed",
    "documents": "line",
    "too_long": "drop",
    "prompts": "alpaca",
    "format": "messages",
    "max_broken": 0.5,
}


def of(objective: str, **changes: Any) -> Recipe:
    known: dict[str, Any] = {"objective": objective, "model": {"path": "x"}, "data": {"train": "a"}}
    return recipe_of(known | {"steps": 1, "out": "run"} | changes)


def test_every_part_of_an_objective_is_known() -> None:
    """A new objective has a part of its own: it says here who reads it."""
    assert {name for name in Recipe.model_fields if name in OBJECTIVES} <= PARTS.keys()
    assert {one for readers in (*PARTS.values(), *DATA.values()) for one in readers} <= set(OBJECTIVES)
    assert FORMATS.keys() <= set(OBJECTIVES)
    assert OTHER.keys() == PARTS.keys() and OTHER_DATA.keys() == DATA.keys()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_not_read_is_refused_by_name(objective: str, part: str) -> None:
    on_policy = {"on_policy": 0.5} if objective == "distill" else {}
    changes = {part: OTHER[part]} | ({"distill": OTHER["distill"] | on_policy} if on_policy else {})
    if objective in PARTS[part]:
        assert of(objective, **changes)
        return
    with pytest.raises(UsageError) as error:
        of(objective, **changes)
    key = part if part == "rewards" else f"{part}.{next(iter(OTHER[part]))}"
    assert key in str(error.value) and objective in str(error.value)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("key", DATA)
def test_a_setting_of_the_data_that_is_not_read_is_refused_by_name(objective: str, key: str) -> None:
    data = {"train": "a", key: OTHER_DATA[key]}
    if objective in DATA[key]:
        assert of(objective, data=data)
        return
    with pytest.raises(UsageError, match=rf"data\.{key} is read by objectives"):
        of(objective, data=data)


@pytest.mark.parametrize(("objective", "form"), FORMATS.items())
def test_the_only_form_of_data_may_be_named(objective: str, form: str) -> None:
    assert of(objective, data={"train": "a", "format": form}).data.format == form


def test_what_a_student_writes_needs_its_share() -> None:
    with pytest.raises(UsageError, match=r"rollout\.max_tokens .* distill\.on_policy"):
        of("distill", rollout={"max_tokens": 8})
    assert of("distill", rollout={"max_tokens": 8}, distill={"on_policy": 0.1})


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_defaults_are_fine_and_all_settings_in_force_are_read_again(objective: str) -> None:
    one = of(objective, rerank={"loss": "listwise"}, grpo={"variant": "dapo"}, rewards=[])
    assert recipe_of(yaml.safe_load(as_yaml(one))) == one


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_a_run_of_a_recipe_writes_is_read_again(path: Path, tmp_path: Path) -> None:
    one = read_recipe(path)
    written = tmp_path / "recipe.yaml"
    written.write_text(as_yaml(one), "utf-8")
    assert read_recipe(written) == one
