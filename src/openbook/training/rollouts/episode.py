"""One completion, or several with what an environment says between: ids, which of them the model wrote, and what it was worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openbook.training.sources.answers import Answer


@dataclass
class Episode:
    """`prompt`: which draw of which row it answers; `group`: completions of one prompt have the same. `learned`: of each id
    behind the prompt, whether the model wrote it; `logprobs`: of those, as the program that wrote says it, at the temperature of
    the draw. `reward`: NaN where there is none, and it is left out. `turns`: completions in it. `is_left_out`: nothing of it is
    learned, but it counts among its group.
    """

    prompt: int
    group: int
    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    is_finished: bool = False
    text: str = ""
    reward: float = float("nan")
    turns: int = 1
    faults: int = 0
    is_left_out: bool = False

    @property
    def num_written(self) -> int:
        return len(self.logprobs)

    @property
    def num_learned(self) -> int:
        """Tokens that the loss counts."""
        return 0 if self.is_left_out else len(self.logprobs)

    @property
    def sampled(self) -> NDArray[np.float32]:
        """(T,) `logprobs` of the tokens that are learned."""
        return np.array(self.logprobs[: self.num_learned], np.float32)

    @property
    def answer(self) -> Answer:
        """ids (T,) and marks (T,) of what is learned."""
        marks = [False] * len(self.prompt_ids) + [one and not self.is_left_out for one in self.learned]
        return np.array([*self.prompt_ids, *self.ids], np.int64), np.array(marks, np.bool_)

    def said(self) -> dict[str, Any]:
        """As JSON, numbers exact."""
        return asdict(self)
