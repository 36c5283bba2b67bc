"""How answers of a teacher become training data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams

Prefer = Literal["shortest", "random"]


@dataclass(frozen=True)
class GenerateSettings:
    """`n` answers to each prompt are written, and of those whose reward is above `threshold` at most `keep` become rows, the
    shortest, or by lot. `reasoning`: see `ChatRequest`. `at_once`: prompts that are asked together.
    """

    n: int = 4
    keep: int = 1
    threshold: float = 0.5
    prefer: Prefer = "shortest"
    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 1_024
    seed: int = 0
    reasoning: bool | None = None
    at_once: int = 16

    def __post_init__(self) -> None:
        for name in ("n", "keep", "max_tokens", "at_once"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", "it may be 1 or more")
        if self.prefer not in get_args(Prefer):
            raise UsageError(f"prefer {self.prefer!r} is not known", f"known are {', '.join(get_args(Prefer))}")
        if self.n > 1 and self.temperature == 0:
            raise UsageError(f"at temperature 0 all {self.n} answers are the same", "give a temperature, or n = 1")

    def sampling(self, seed: int) -> SamplingParams:
        return SamplingParams(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)

    def job(self) -> dict[str, Any]:
        """What an interrupted job must have in common with the one that goes on."""
        return {name: value for name, value in asdict(self).items() if name != "at_once"}
