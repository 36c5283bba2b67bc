"""`samples.jsonl`: completions with their rewards, some of each rollout, for a person to read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.core.paths import replacing

if TYPE_CHECKING:
    from openbook.lm.tokenizers.tokenizer import Tokenizer
    from openbook.training.rollouts.episode import Episode

NAME = "samples.jsonl"


class SampleLog:
    """Of each rollout the first `most` completions of its first prompt. Nothing is written before `begin`: a run that is only
    checked leaves the folder as it is.
    """

    def __init__(self, run: Path, most: int) -> None:
        self.path, self._most = run / NAME, most
        self._has_begun = False

    def begin(self) -> None:
        self._has_begun = True

    def write(self, rollout: int, episodes: Sequence[Episode], tokenizer: Tokenizer) -> None:
        if not self._has_begun:
            return
        lines = []
        for one in episodes[: self._most]:
            said = {
                "rollout": rollout,
                "prompt": tokenizer.decode(one.prompt_ids),
                "completion": one.text,
                "reward": one.reward if math.isfinite(one.reward) else None,
                "tokens": one.num_learned,
                "is_finished": one.is_finished,
            }
            lines.append(json.dumps(said, ensure_ascii=False) + "\n")
        if lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))

    def keep_until(self, rollout: int) -> None:
        """Takes out what a run that goes on writes again."""
        if not self._has_begun or not self.path.exists():
            return
        kept = [one for one in read_samples(self.path) if one["rollout"] <= rollout]
        with replacing(self.path) as file:
            file.write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in kept).encode())


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole."""
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("rollout"), int):
                found.append(row)
    return found
