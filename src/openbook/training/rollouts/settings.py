"""What a recipe says of rollouts: free of torch, so that recipes can name it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RolloutPrecision = Literal["shared", "float32", "bfloat16", "int8"]
"""shared: the trainer's own tensors. Else a packed copy, made again each time."""


class Limits(BaseModel):
    """Where a run has collapsed: it stops with the reason after `patience` steps in a row beyond one of them. None: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kl: float | None = Field(
        default=10.0, gt=0, description="nats a token from the reference, or from the policy that wrote"
    )
    least_entropy: float | None = Field(default=None, ge=0, description="nats a token")
    most_entropy: float | None = Field(
        default=0.9, gt=0, le=1, description="share of ln V, that of a model that writes anything at all"
    )
    least_length: float | None = Field(default=None, ge=1, description="tokens of a completion")
    most_length: float | None = Field(default=None, ge=1)
    patience: int = Field(default=5, ge=1)


class RolloutPart(BaseModel):
    """How a model writes what it learns from. `batch_size` of the recipe counts completions of an optimizer step."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    completions: int = Field(default=8, ge=1, description="of each prompt: a group")
    max_tokens: int = Field(default=256, ge=1, description="of a completion, its end token included")
    temperature: float = Field(
        default=1.0, gt=0, description="of the draws, and of the log-probabilities that are learned"
    )
    precision: RolloutPrecision = Field(
        default="shared", description="shared: the trainer's own tensors; or a packed copy in float32, bfloat16 or int8"
    )
    url: str | None = Field(
        default=None, description="of an OpenAI-compatible server that writes in place of this process"
    )
    model: str | None = Field(default=None, description="its name there; none: the first that the server lists")
    push: str | None = Field(
        default=None,
        description="folder that the server sees too: weights are saved there before each rollout, and it is told; "
        "none: its weights stay, and tokens are weighted by importance",
    )
    timeout_s: float = Field(default=600.0, gt=0, description="seconds that an answer of the server may take")
    max_num_seqs: int = Field(default=64, ge=1, description="completions that are written at a time")
    minibatches: int = Field(default=1, ge=1, description="optimizer steps that one pass over the completions takes")
    epochs: int = Field(default=1, ge=1, description="passes over the completions before others are written")
    importance: float | None = Field(
        default=None,
        gt=0,
        description="most that a token counts for what the copy's precision made of its chance; none: 1",
    )
    truncated: Literal["learn", "leave out"] = Field(
        default="learn", description="completions that were cut at max_tokens"
    )
    environment: str | None = Field(default=None, description="calculator, or FILE.py:NAME: it answers completions")
    max_turns: int = Field(default=4, ge=1, description="completions of an episode with an environment")
    turn_s: float = Field(default=60.0, gt=0, description="seconds that an environment may take to answer")
    eval_temperature: float = Field(
        default=0.0, ge=0, description="of completions that are only evaluated; 0: the likeliest"
    )
    eval_completions: int = Field(default=1, ge=1, description="of each prompt that is evaluated")
    samples: int = Field(
        default=4, ge=0, description="completions with their rewards that each step leaves in samples.jsonl"
    )
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _is_sound(self) -> RolloutPart:
        if self.url is None and (self.push or self.model):
            raise ValueError("rollout.push and rollout.model are of a server: give rollout.url")
        if self.url is not None and self.precision != "shared":
            raise ValueError("a server computes in its own precision: leave rollout.precision out")
        if self.importance is not None and self.precision == "shared" and self.url is None:
            raise ValueError("rollout.importance is for a copy of other precision: the trainer's own tensors need none")
        if self.eval_completions > 1 and not self.eval_temperature:
            raise ValueError("the likeliest completion is one: give rollout.eval_temperature, or one completion")
        return self

    @property
    def chosen_importance(self) -> float | None:
        """`importance`; 2 where a server writes whose weights stay."""
        return 2.0 if self.importance is None and self.url and not self.push else self.importance

    @property
    def steps(self) -> int:
        """Optimizer steps that the completions of one rollout are learned in."""
        return self.minibatches * self.epochs
