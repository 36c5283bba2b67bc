"""Which settings of a recipe an objective reads. One that is given and read by nobody would be a mistake that nothing shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from openbook.training.recipe import Recipe

_WRITING = ("grpo", "ppo", "distill")
_TEXT = ("next_token", "masked", "spans", "distill")
_ANSWERS = ("preference", "reward")

PARTS: Mapping[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in ("masked", "spans", "rerank", "contrastive", "reader", "next_sentence", "classifier")
        + ("reward", "preference", "grpo", "distill", "ppo")
    },
    "rollout": _WRITING,
    "rewards": _WRITING,
}
"""Parts that belong to objectives -> those that read them."""
DATA: Mapping[str, tuple[str, ...]] = {
    "layout": _TEXT,
    "documents": _TEXT,
    "too_long": (*_TEXT, *_ANSWERS),
    "prompts": ("next_token", *_ANSWERS, *_WRITING),
    "format": (*_TEXT, *_ANSWERS, "next_sentence"),
    "max_broken": (*_TEXT, *_ANSWERS, "grpo", "ppo", "rerank", "contrastive", "next_sentence", "classifier"),
}
"""Keys of `data` that not all objectives read -> those that do."""
FORMATS: Mapping[str, str] = {"rerank": "pairs", "contrastive": "pairs", "reader": "squad"}
"""The only form of data of an objective: it may be named."""


def check_read(recipe: Recipe) -> None:
    """ValueError for a setting other than the default that the recipe's objective does not read."""
    for key, readers in _changed(recipe):
        if recipe.objective not in readers:
            raise ValueError(
                f"{key} is read by {_listed(readers)}, not by objective {recipe.objective}: leave {key} out"
            )
    if recipe.objective == "distill" and not recipe.distill.on_policy:
        written = [key for key, readers in _changed(recipe) if readers is _WRITING]
        if written:
            raise ValueError(
                f"{written[0]} is for what a student writes: give distill.on_policy, or leave {written[0]} out"
            )


def _changed(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...]]]:
    """("rerank.loss", objectives that read it) of what is not as by default."""
    for name, readers in PARTS.items():
        value, default = getattr(recipe, name), type(recipe).model_fields[name].default
        if isinstance(value, BaseModel):
            yield from ((f"{name}.{key}", readers) for key in _differing(value, default))
        elif value != default:
            yield name, readers
    own = FORMATS.get(recipe.objective)
    for key, readers in DATA.items():
        value = getattr(recipe.data, key)
        if value != type(recipe.data).model_fields[key].default and not (key == "format" and value == own):
            yield f"data.{key}", readers


def _differing(value: BaseModel, default: BaseModel) -> Iterator[str]:
    for key in type(value).model_fields:
        own, other = getattr(value, key), getattr(default, key)
        if isinstance(own, BaseModel) and isinstance(other, BaseModel):
            yield from (f"{key}.{inner}" for inner in _differing(own, other))
        elif own != other:
            yield key


def _listed(objectives: tuple[str, ...]) -> str:
    return ("objective " if len(objectives) == 1 else "objectives ") + ", ".join(objectives)
