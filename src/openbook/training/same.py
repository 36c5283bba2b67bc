"""Whether a run that goes on is the run that began: its recipe may differ only in what changes no step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from openbook.core.errors import UsageError
from openbook.training.recipe import Recipe, as_yaml, recipe_of

FREE = frozenset(
    {"steps", "epochs", "out", "eval_every", "save_every", "log_every", "keep", "early_stopping", "tensorboard"}
    | {"micro_batch_size", "parallel", "pipeline_schedule", "checkpoint", "compile", "gradient_checkpointing"}
    | {"forgetting", "data.cache", "data.eval_rows", "data.max_broken"}
)
"""How long it runs, what is watched, and how a step is spread."""
_NAMED = 4


def check_same(recipe: Recipe, written: Path) -> None:
    """`written`: the recipe of the checkpoint, as `as_yaml` writes it; one that is not there or unreadable says nothing. A key
    that it does not have, because it is older, has its default.

    UsageError names the keys that differ, with both values.
    """
    try:
        before = yaml.safe_load(written.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    if not isinstance(before, Mapping):
        return
    with suppress(UsageError):  # of another version: compared as it is
        before = yaml.safe_load(as_yaml(recipe_of(before)))
    known, now = dict(_flat(before)), dict(_flat(yaml.safe_load(as_yaml(recipe))))
    changed = [
        f"{key}={now.get(key)!r} was {known.get(key)!r}"
        for key in sorted(known.keys() | now.keys())
        if known.get(key) != now.get(key) and not _is_free(key)
    ]
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise UsageError(
            f"the run was begun with another recipe: {', '.join(changed[:_NAMED])}{more}",
            "give the old values, or another out=DIR",
        )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """("data.train", [...]) of all that is no mapping; what is None is as if it were not there."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", value
