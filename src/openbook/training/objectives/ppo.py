"""A policy and its critic, made better on answers that the policy has written: the clipped objective of PPO.

loss = sum over tokens of [-min(ratio A, clip(ratio) A) + value_weight 1/2 max((V - R)^2, (clip(V) - R)^2)] / tokens of the step.
Sources: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, equation 9 (without its bonus for entropy, as Huang et al. 2024,
https://arxiv.org/abs/2403.17031); the parts are in `policy_losses`.
"""

from __future__ import annotations

from openbook.lm.families.base import Family
from openbook.training.critic import Critic, said_by
from openbook.training.loss import LossSum
from openbook.training.objectives.policy_losses import (
    known_or_own,
    ratio_metrics,
    surrogate,
    truncated_weights,
    value_losses,
)
from openbook.training.objectives.policy_names import PolicyKnobs
from openbook.training.sources.experience import Experience
from openbook.training.sources.rollouts import Judged


class ProximalPolicy:
    """A unit of weight a token. `value_clip`: how far from its old value one counts. `temperature`: of the draws. `importance`:
    most that a token counts for the precision of what wrote it. Answers that are only evaluated have the loss -reward.
    """

    def __init__(
        self,
        critic: Critic,
        knobs: PolicyKnobs,
        *,
        value_clip: float | None = 0.2,
        value_weight: float = 0.1,
        temperature: float = 1.0,
        importance: float | None = None,
    ) -> None:
        self._critic, self._knobs, self._temperature = critic, knobs, temperature
        self._value_clip, self._value_weight, self._importance = value_clip, value_weight, importance

    def weight(self, micro: Experience | Judged) -> float:
        return float(len(micro.rewards if isinstance(micro, Judged) else micro.targets))

    def first_loss(self, micro: Experience | Judged) -> float | None:
        """Of a policy and a critic that are those of `micro`: every ratio is 1, every value the old one."""
        if isinstance(micro, Judged) or self._importance is not None or not micro.is_first:
            return None
        errors, _ = value_losses(micro.values, micro.values, micro.returns, None)
        return float((self._value_weight * errors.double() - micro.advantages.double()).sum())

    def loss(self, model: Family, micro: Experience | Judged) -> LossSum:
        if isinstance(micro, Judged):
            return LossSum(-micro.rewards.float().sum(), self.weight(micro), micro.told)
        said, old = said_by(model, self._critic, micro, self._temperature), micro.old
        if old is None:
            raise ValueError("experience has the log-probabilities of the policy that began")
        policy = surrogate(said.logprobs, old, micro.advantages, micro.owners, micro.counts, self._knobs)
        values, is_held = value_losses(said.values, micro.values, micro.returns, self._value_clip)
        losses, sampled = policy.losses, known_or_own(micro.sampled, old)
        if self._importance is not None:
            losses = losses * truncated_weights(old, sampled, self._importance)
        means = {
            "policy_loss": losses,
            "value_loss": values,
            "value_clip_fraction": is_held,
            "entropy": said.entropies,
        }
        metrics = {name: (float(one.detach().double().sum()), float(len(one))) for name, one in means.items()}
        metrics |= ratio_metrics(said.logprobs.detach(), old, policy) | dict(micro.told)
        most = {"rollout_difference": float((old - sampled).abs().max())} if len(old) else {}
        return LossSum((losses + self._value_weight * values).sum(), self.weight(micro), metrics, most)
