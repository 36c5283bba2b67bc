"""A recipe says all of a run; what it does not know is told with the nearest key that it does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from openbook.core.errors import UsageError
from openbook.training.recipe import Recipe, as_yaml, data_paths, read_recipe, recipe_of
from small_runs import values

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


def test_what_is_printed_makes_the_same_recipe_again(tmp_path: Path) -> None:
    one = recipe_of(values(tmp_path))
    assert recipe_of(yaml.safe_load(as_yaml(one))) == one
    assert one.weight_decay == 0.1


def test_overrides_win(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(values(tmp_path)), "utf-8")
    one = read_recipe(path, ["lr=2e-4", "model.shape.hidden_size=64", "data.eval_share=0.2", "epochs=2", "steps="])
    assert (one.lr, one.model.shape["hidden_size"], one.data.eval_share) == (2e-4, 64, 0.2)
    assert (one.steps, one.epochs) == (None, 2)


def test_a_length_takes_the_place_of_the_recipes_own(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(values(tmp_path)), "utf-8")
    assert (one := read_recipe(path, ["epochs=2"])).steps is None and one.epochs == 2
    assert read_recipe(path, ["steps=7"]).steps == 7
    with pytest.raises(UsageError, match="one of the two"):
        read_recipe(path, ["steps=7", "epochs=2"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leraning_rate": 1}, "leraning_rate"),
        ({"warmpu": 1}, "warmup"),
        ({"data": {"trian": "a"}}, "train"),
        ({"adapter": {"kind": "lora", "rnak": 8}, "model": {"path": "x"}}, "rnak"),
        ({"steps": None}, "steps or epochs"),
        ({"epochs": 1}, "one of the two"),
        ({"lr": -1}, "greater than 0"),
        ({"schedule": "cosin"}, "cosine"),
        ({"model": {"family": "llama"}}, "model.size"),
        ({"model": {"path": "x", "tokenizer": "characters"}}, "leave out"),
        ({"adapter": {"kind": "lora"}}, "needs a trained base"),
        ({"data": {"train": "a"}, "early_stopping": 2}, "eval_share"),
        ({"data": {"train": "a", "eval": "b", "eval_share": 0.1}}, "not both"),
        ({"out": None}, "out"),
        ({"out": ""}, "out = '' is not allowed"),
        ({"data": {"train": ""}}, "data.train.0 = ''"),
        ({"betas": [2, 3]}, "betas.0 = 2"),
        ({"betas": [0.9, 1.0]}, "betas.1 = 1.0"),
        ({"objective": "classifier", "classifier": {"labels": ["a", "b", "a"]}}, "classifier.labels names 'a'"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        recipe_of(values(tmp_path, **change))
    assert said in str(error.value)


def _numbers(model: type[BaseModel]) -> list[str]:
    """The fields that take a number with a fraction, of a part and of its parts: "rollout.limits.kl"."""
    found = []
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is tuple:
            continue
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)]
        found += [f"{name}.{one}" for part in inner if issubclass(part, BaseModel) for one in _numbers(part)]
        found += [name] if any(issubclass(one, float) for one in inner) else []
    return found


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_number_that_is_none_is_refused_by_name(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.yaml"
    whole = {"adapter": {"kind": "lora"}, "continual": {"ewc": {"weight": 1, "data": "a"}}}
    known = values(tmp_path) | whole
    path.write_text(yaml.safe_dump(known), "utf-8")
    names = _numbers(Recipe)
    assert {"lr", "epochs", "rollout.limits.kl", "ppo.beta", "adapter.alpha", "continual.ewc.weight"} <= set(names)
    for name in names:
        with pytest.raises(UsageError) as error:
            read_recipe(path, [f"{name}={value}"])
        assert name in str(error.value) and "finite" in str(error.value), name
    for name in ("betas", "contrastive.dims", "data.weights"):
        with pytest.raises(UsageError, match=name):
            read_recipe(path, [f"{name}=[{value}, {value}]"])
    with pytest.raises(UsageError, match=r"rewards\.0\.weight"):
        read_recipe(path, [f"rewards=[{{builtin: number, weight: {value}}}]"])


def test_a_path_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    with pytest.raises(UsageError, match=r"data\.train=FILE"):
        data_paths(["$NO_SUCH_VARIABLE/a.txt"])
    with pytest.raises(UsageError, match="is not there"):
        data_paths(["no/such/file.txt"])


def test_a_recipe_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [", "utf-8")
    with pytest.raises(UsageError, match="not YAML"):
        read_recipe(path)
    path.write_text("- a", "utf-8")
    with pytest.raises(UsageError, match="no recipe"):
        read_recipe(path)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound_and_says_what_it_is(path: Path) -> None:
    assert read_recipe(path).out == f"runs/{path.stem}"
    assert path.read_text("utf-8").startswith("# ")
