"""A policy and its critic, made better on answers that the policy has written: the clipped objective of PPO.

loss = sum over tokens of [-min(ratio A, clip(ratio) A) + value_weight 1/2 max((V - R)^2, (clip(V) - R)^2)] / tokens of the step.
Sources: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 9 (without its bonus for entropy, as Huang et al. 2024,
https://arxiv.org/abs/2403.17031); the parts are in `policy_losses`.
"""

from __future__ import annotations

from openbook.lm.families.base import Family
from openbook.training.critic import Critic, said_by
from openbook.training.loss import LossSum
from openbook.training.objectives.policy_losses import ratio_metrics, surrogate, value_losses
from openbook.training.objectives.policy_names import PolicyKnobs
from openbook.training.sources.experience import Experience


class ProximalPolicy:
    """A unit of weight a token. `value_clip`: how far from its old value one counts. `temperature`: of the draws."""

    def __init__(
        self,
        critic: Critic,
        knobs: PolicyKnobs,
        *,
        value_clip: float | None = 0.2,
        value_weight: float = 0.1,
        temperature: float = 1.0,
    ) -> None:
        self._critic, self._knobs, self._temperature = critic, knobs, temperature
        self._value_clip, self._value_weight = value_clip, value_weight

    def weight(self, micro: Experience) -> float:
        return float(len(micro.targets))

    def first_loss(self, micro: Experience) -> float:
        """Of a policy and a critic that are those of `micro`: every ratio is 1, every value the old one."""
        errors, _ = value_losses(micro.values, micro.values, micro.returns, None)
        return float((self._value_weight * errors.double() - micro.advantages.double()).sum())

    def loss(self, model: Family, micro: Experience) -> LossSum:
        said = said_by(model, self._critic, micro, self._temperature)
        given = said.logprobs, micro.old, micro.advantages, micro.owners, micro.counts
        policy = surrogate(*given, self._knobs)
        values, is_held = value_losses(said.values, micro.values, micro.returns, self._value_clip)
        means = {
            "policy_loss": policy.losses,
            "value_loss": values,
            "value_clip_fraction": is_held,
            "entropy": said.entropies,
        }
        metrics = {name: (float(one.detach().double().sum()), float(len(one))) for name, one in means.items()}
        metrics |= ratio_metrics(said.logprobs.detach(), micro.old, policy) | dict(micro.told)
        return LossSum((policy.losses + self._value_weight * values).sum(), self.weight(micro), metrics)
