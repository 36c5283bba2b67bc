"""How pairs are judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from openbook.core.errors import UsageError
from openbook.training.judge.ask import Asking
from openbook.training.judge.rubric import Language, Rubric

Ties = Literal["drop", "both"]
MOST_BATCH = 64
"""Pairs that are asked about together."""


@dataclass(frozen=True)
class JudgeSettings:
    """`is_swapped`: each pair is asked twice, in both orders. `ties`: pairs without a better answer, be it that the judge says so
    or that its two verdicts differ, are left out (drop), or written in both orders (both), which draws a model to neither.
    `max_requests`, `max_tokens`: no question is sent that could pass them; tokens are estimated before they are counted.
    """

    rubric: Rubric
    asking: Asking = field(default_factory=Asking)
    is_swapped: bool = True
    has_ties: bool = False
    ties: Ties = "drop"
    language: Language | None = None
    max_requests: int | None = None
    max_tokens: int | None = None
    batch: int = MOST_BATCH

    def __post_init__(self) -> None:
        if self.ties not in ("drop", "both"):
            raise UsageError(f"ties {self.ties!r} is not known", "drop or both")
        if self.rubric.kind != "pair":
            raise ValueError("pairs need a rubric for pairs")

    def identity(self, judge: str) -> dict[str, Any]:
        """What verdicts depend on: with another of these they are other verdicts."""
        said = repr((self.rubric.template, self.rubric.principles))
        return {
            "judge": judge,
            "rubric": hashlib.sha256(said.encode()).hexdigest()[:16],
            "swap": self.is_swapped,
            "tie allowed": self.has_ties,
            "language": self.language,
            "reasons": self.asking.reasons,
            "temperature": self.asking.temperature,
        }
