"""What a reward is asked about, and what it may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

FaultKind = Literal["error", "timeout", "memory", "crash", "length", "nan", "nonsense", "unavailable", "row"]
"""error: it raised. length: not one number for each completion. nan: NaN or infinity. nonsense: an answer that cannot be read.
unavailable: a model that cannot be asked. row: its row lacks what is needed."""


@dataclass(frozen=True)
class Sampled:
    """One completion that wants a reward."""

    row: Mapping[str, Any]
    """Of the data that its prompt comes from."""
    prompt: tuple[Mapping[str, Any], ...]
    """As messages of a chat."""
    completion: str
    """Its text, end tokens left out."""
    tokens: int
    """That were written."""
    is_finished: bool
    """It ended by itself, not at the limit."""


class Fault(NamedTuple):
    """Why a completion has no reward that should have one."""

    kind: FaultKind
    message: str


Score = float | Fault | None
"""None: this reward has nothing to say of this completion, which is no fault."""


class Reward(Protocol):
    @property
    def name(self) -> str: ...
    def __call__(self, samples: Sequence[Sampled]) -> Sequence[Score]:
        """One for each sample, in order. What goes wrong is a `Fault` in its place; what is raised ends the run."""
        ...
