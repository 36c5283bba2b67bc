"""What a recipe says of objective `ppo`: free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from openbook.training.objectives.policy_names import PolicyKnobs
from openbook.training.recipe_parts import Part


class PpoPart(Part):
    """Of objective `ppo`. How often answers are written and learned from is in `rollout`: 4 epochs are common."""

    critic: Literal["separate", "shared"] = Field(
        default="separate", description="a model of its own, or a head over the policy's hidden rows"
    )
    critic_path: str | None = Field(
        default=None, description="of separate: what it begins as, e.g. a reward model; none: as the policy, its head 0"
    )
    beta: float = Field(default=0.05, ge=0, description="price of a nat of divergence, paid by each token")
    kl_target: float | None = Field(
        default=None, gt=0, description="nats of an answer that the price is adapted to; none: it stays"
    )
    kl_horizon: int = Field(default=10_000, ge=1, description="answers after which the price has adapted")
    max_kl: float | None = Field(
        default=None, gt=0, description="nats a token from what wrote; a step beyond it ends the epochs of its rollout"
    )
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1, description="of GAE: 0 trusts the critic, 1 what came")
    clip: float = Field(default=0.2, gt=0, lt=1, description="how far from 1 a ratio has an effect")
    dual_clip: float | None = Field(
        default=None, gt=1, description="the largest ratio that counts against a bad answer"
    )
    value_clip: float | None = Field(default=0.2, gt=0, description="how far from its old value a value counts")
    value_weight: float = Field(default=0.1, gt=0, description="of the critic's loss beside the policy's")
    whiten_rewards: bool = Field(default=False, description="variance 1; their mean stays")
    missing_eos_penalty: float = Field(
        default=0.0, ge=0, description="taken from the reward of an answer that was cut off"
    )

    @model_validator(mode="after")
    def _has_one_critic(self) -> PpoPart:
        if self.critic == "shared" and self.critic_path is not None:
            raise ValueError("ppo.critic_path is of a critic of its own: leave it out, or set ppo.critic=separate")
        return self

    @property
    def knobs(self) -> PolicyKnobs:
        return PolicyKnobs(clip_low=self.clip, clip_high=self.clip, dual_clip=self.dual_clip, aggregation="token")
