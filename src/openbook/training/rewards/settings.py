"""What a recipe names under `rewards`: the terms of a weighted sum, each of one kind, with the settings that its kind has."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["function", "builtin", "program", "model", "judge"]
Builtin = Literal["number", "choice", "format", "length", "overlong", "regex"]
OnFault = Literal["stop", "zero", "skip"]
Place = Literal["any", "boxed", "hashes", "tag", "last"]
Shown = Literal["text", "messages"]

KINDS: tuple[Kind, ...] = ("function", "builtin", "program", "model", "judge")
SETTINGS: dict[str, tuple[str, ...]] = {
    "function": ("timeout", "memory_mb", "completions", "alone"),
    "program": ("timeout", "memory_mb", "unsafe_local"),
    "model": ("adapter",),
    "judge": ("rubric", "constitution", "max_tokens"),
    "number": ("key", "place"),
    "choice": ("key", "place", "choices"),
    "format": ("tags", "is_opened"),
    "length": ("target",),
    "overlong": ("target", "buffer"),
    "regex": ("pattern", "timeout"),
}
"""Of each kind and each builtin: what it takes beside weight, name, on_fault and max_faults."""
_NEEDED = {"length": ("target",), "overlong": ("target", "buffer"), "regex": ("pattern",)}
_COMMON = {*KINDS, "weight", "name", "on_fault", "max_faults"}


class RewardTerm(BaseModel):
    """One reward of the sum: `weight` times what one of function, builtin, program, model and judge says."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = 1.0
    name: str | None = Field(default=None, description="in the log; none: of what it is")
    function: str | None = Field(default=None, description="FILE.py:NAME, called as TRL calls reward functions")
    builtin: Builtin | None = None
    program: str | None = Field(default=None, description="a verifier that runs in the sandbox, once a completion")
    model: str | None = Field(default=None, description="directory of a reward model")
    judge: str | None = Field(default=None, description="DIR | URL | URL#NAME of a model that gives 1 to 10 points")
    on_fault: OnFault = Field(
        default="stop",
        description="completions without a reward are left out (skip), have 0 (zero), or are left out until they are too many",
    )
    max_faults: float = Field(default=0.1, ge=0, le=1, description="of stop: share of the last 100 completions")

    timeout: float | None = Field(
        default=None, gt=0, description="seconds of a call (function 60, program and regex 10)"
    )
    memory_mb: int | None = Field(default=None, ge=16, description="of function 4096, of program 1024")
    completions: Shown | None = Field(
        default=None, description="of function: text, or messages as TRL has them of chats"
    )
    alone: bool | None = Field(
        default=None, description="of function: a call that failed is made again for each completion by itself (true)"
    )
    unsafe_local: bool | None = Field(default=None, description="of program: also where no sandbox runs (false)")
    adapter: str | None = Field(default=None, description="of model: what was trained on it")
    rubric: str | None = Field(default=None, description="of judge: file with what answers are judged by")
    constitution: str | None = Field(default=None, description="of judge: or a file with principles")
    max_tokens: int | None = Field(default=None, ge=1, description="of judge: of its reasons, before the points (0)")
    key: str | None = Field(
        default=None, description="of number and choice: of the rows, that holds the answer (answer)"
    )
    place: Place | None = Field(
        default=None,
        description="of number and choice: where the answer is looked for (any): boxed, hashes, tag or last",
    )
    choices: tuple[str, ...] | None = Field(default=None, min_length=2, description="of choice: (A, B, C, D)")
    tags: tuple[str, ...] | None = Field(default=None, min_length=1, description="of format: (think, answer)")
    is_opened: bool | None = Field(
        default=None, description="of format: the chat template writes the first tag (false)"
    )
    target: int | None = Field(default=None, ge=1, description="of length and overlong: tokens")
    buffer: int | None = Field(
        default=None, ge=1, description="of overlong: tokens up to the target that cost more and more"
    )
    pattern: str | None = Field(default=None, description="of regex: found anywhere in the completion, 1, or else 0")

    @model_validator(mode="after")
    def _is_one(self) -> RewardTerm:
        named = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(f"a reward is one of {', '.join(KINDS)}; this one has {' and '.join(named) or 'none'}")
        what = self.what
        given = {name for name, value in self.model_dump().items() if value is not None} - _COMMON
        if unknown := sorted(given - set(SETTINGS[what])):
            raise ValueError(f"{unknown[0]} is no setting of {what}, which has {', '.join(SETTINGS[what])}")
        if missing := sorted(set(_NEEDED.get(what, ())) - given):
            raise ValueError(f"reward {what} needs {' and '.join(missing)}")
        if self.rubric and self.constitution:
            raise ValueError("a judge has a rubric or a constitution, not both")
        if self.buffer and self.target and self.buffer > self.target:
            raise ValueError(f"buffer {self.buffer} is larger than target {self.target}")
        if self.weight == 0:
            raise ValueError("weight 0: leave the reward out")
        return self

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def what(self) -> str:
        """The kind, or the name of a builtin: a key of `SETTINGS`."""
        return self.builtin or self.kind

    @property
    def label(self) -> str:
        """What it is called in the log."""
        if self.name:
            return self.name
        if self.function:
            return self.function.rpartition(":")[2]
        if self.program:
            return self.program.rpartition("/")[2].partition(".")[0]
        return self.what
