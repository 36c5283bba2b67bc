"""A reward that is a Python function of the user's, in a process of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openbook.core.errors import UsageError
from openbook.training.rewards.sampled import Sampled, Score
from openbook.training.rewards.settings import Shown
from openbook.training.rewards.worker_call import WorkerCall

_OWN = ("prompts", "completions", "completion_tokens", "is_finished")


class FunctionReward:
    """Called once for all completions, with `prompts`, `completions` and each key of the rows as lists by name, as in TRL.

    Source: TRL, `GRPOTrainer`, "Using a custom reward function". Differences: it runs in another process, which may be replaced;
    it gets only the arguments that it names, unless it takes all; `completion_tokens` and `is_finished` are ours.
    """

    def __init__(
        self,
        spec: str,
        name: str,
        *,
        timeout_s: float = 60.0,
        memory_bytes: int = 4 << 30,
        completions: Shown = "text",
        alone: bool = True,
    ) -> None:
        """`spec`: FILE.py:NAME. UsageError for a file that is not there or cannot be imported."""
        self.name = name
        self._completions, self._alone = completions, alone
        file, function = _parted(spec)
        self._call = WorkerCall(
            "call", [str(file), function], timeout_s=timeout_s, memory_bytes=memory_bytes, initializer="load"
        )
        self._call.check({"completions": [], "prompts": []}, f"the reward function {spec}", "mend the file")

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return self._call.scores(self._task, samples, self._alone)

    def close(self) -> None:
        self._call.close()

    def _task(self, samples: Sequence[Sampled]) -> dict[str, list[Any]]:
        keys = dict.fromkeys(key for sample in samples for key in sample.row)
        columns = {key: [sample.row.get(key) for sample in samples] for key in keys if key not in (*_OWN, "prompt")}
        is_text = self._completions == "text"
        said = [one.completion for one in samples]
        return columns | {
            "prompts": [[dict(message) for message in one.prompt] for one in samples],
            "completions": said if is_text else [[{"role": "assistant", "content": one}] for one in said],
            "completion_tokens": [one.tokens for one in samples],
            "is_finished": [one.is_finished for one in samples],
        }


class RegexReward:
    """1 where a pattern is found in the completion, else 0. In a process of its own: some patterns never come to an end."""

    def __init__(self, pattern: str, name: str, *, timeout_s: float = 10.0) -> None:
        """UsageError for what is no pattern."""
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"reward {name}: {pattern!r} is no regular expression: {error}", "mend it") from None
        self.name = name
        self._call = WorkerCall("matches", [pattern], timeout_s=timeout_s, memory_bytes=1 << 30)

    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        return self._call.scores(lambda some: [one.completion for one in some], samples)

    def close(self) -> None:
        self._call.close()


def _parted(spec: str) -> tuple[Path, str]:
    """The file and the name of FILE.py:NAME."""
    file, _, name = spec.rpartition(":")
    path = Path(os.path.expandvars(file)).expanduser().absolute()
    if not file or not name.isidentifier():
        raise UsageError(f"{spec!r} names no function", "write FILE.py:NAME")
    if not path.is_file():
        raise UsageError(f"{path} is not there", "write FILE.py:NAME")
    return path, name
