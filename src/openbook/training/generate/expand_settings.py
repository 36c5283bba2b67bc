"""How seeds become more tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from openbook.core.errors import UsageError
from openbook.core.messages import SamplingParams

Method = Literal["self-instruct", "evol"]


@dataclass(frozen=True)
class ExpandSettings:
    """`rows` new ones are wanted. `below`: a task is kept whose ROUGE-L with every other is less. Of self-instruct: `examples` in
    a request, of which `seed_share` are seeds and the rest were made before, and `wanted` tasks an answer. `at_once`: requests of
    a round; `patience`: so many rounds without a new row end the job. `with_seeds`: seeds that have answers stand among the rows,
    evenly spread. `temperature` of tasks; answers are written at `answer_temperature`.
    """

    method: Method = "self-instruct"
    rows: int = 1_000
    below: float = 0.7
    examples: int = 8
    seed_share: float = 0.75
    wanted: int = 8
    temperature: float = 0.8
    answer_temperature: float = 0.3
    top_p: float = 0.95
    max_tokens: int = 1_024
    seed: int = 0
    at_once: int = 8
    patience: int = 10
    with_seeds: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"expand {self.method!r} is not known", f"known are {', '.join(get_args(Method))}")
        for name in ("rows", "examples", "wanted", "max_tokens", "at_once", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", "it may be 1 or more")
        for name in ("below", "seed_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}", "it may be above 0, up to 1")

    def sampling(self, seed: int, *, is_answer: bool = False) -> SamplingParams:
        heat = self.answer_temperature if is_answer else self.temperature
        return SamplingParams(temperature=heat, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)

    def job(self) -> dict[str, Any]:
        """What an interrupted job must have in common with the one that goes on: all that changes its draws."""
        free = ("rows", "patience", "with_seeds")
        return {name: value for name, value in asdict(self).items() if name not in free}
