"""Environments: what answers a model that is rolled out over several turns. What they say is read and never learned.

An environment makes an episode of a row; an episode answers each completion until it is over. A user's own is named
`FILE.py:NAME` in the recipe: a function or class that takes the row. It runs in the process of the trainer, as its author's code.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from openbook.core.errors import UsageError
from openbook.training.data.row import Message


class Turns(Protocol):
    """One episode under way."""

    def step(self, completion: str) -> Sequence[Message]:
        """What answers `completion`: messages of a tool or of a user; none where the episode is over."""
        ...


Environment = Callable[[Mapping[str, Any]], Turns]
"""row -> its episode."""


def open_environment(name: str) -> Environment:
    """A built-in one, or FILE.py:NAME, whose folder may be imported from. UsageError where there is none."""
    if name == "calculator":
        from openbook.training.rollouts.calculator import Calculator

        return Calculator
    file, _, attribute = name.rpartition(":")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        raise UsageError(f"environment {name!r} is not there", "give FILE.py:NAME, or calculator")
    spec = importlib.util.spec_from_file_location(f"openbook_environment_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise UsageError(f"{path} cannot be run: {type(error).__name__}: {error}", "mend it") from None
    found: Environment | None = getattr(module, attribute, None)
    if not callable(found):
        raise UsageError(f"{path} has no function or class {attribute!r}", "name a function or class of it")
    return found
