"""What runs in the process of a reward function: it is loaded, called as TRL calls it, and gives plain numbers."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any


class WrongLength(ValueError):
    """Not one reward for each completion."""


@lru_cache(maxsize=1)
def load(file: str, name: str) -> Callable[..., Any]:
    """The function `name` of a file, whose folder may be imported from. Raises what the file raises."""
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        known = [one for one, value in vars(module).items() if inspect.isfunction(value) and not one.startswith("_")]
        raise ImportError(f"{path.name} has no function {name!r}; it has {', '.join(known) or 'none'}")
    return found  # type: ignore[no-any-return]


def call(task: dict[str, list[Any]], file: str, name: str) -> list[float | None]:
    """`task`: the keyword arguments, each a list over the completions. Those that the function does not name are not given to it,
    unless it takes all.
    """
    function = load(file, name)
    if not task["completions"]:
        return []
    given = function(**_accepted(function, task))
    if inspect.iscoroutine(given):
        given = asyncio.run(given)
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    count = len(task["completions"])
    if not isinstance(values, list) or len(values) != count:
        raise WrongLength(f"it gave {len(values) if isinstance(values, list) else 1} rewards for {count} completions")
    return [None if one is None else float(one) for one in values]


def matches(task: list[str], pattern: str) -> list[float]:
    """Of each text 1.0 where the pattern is found in it. Here, since some patterns never come to an end."""
    found = re.compile(pattern, re.DOTALL)
    return [float(found.search(text) is not None) for text in task]


def _accepted(function: Callable[..., Any], task: dict[str, list[Any]]) -> dict[str, list[Any]]:
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return task
    names = {one.name for one in parameters}
    return {name: values for name, values in task.items() if name in names}
