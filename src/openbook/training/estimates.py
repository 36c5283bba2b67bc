"""What answers have been worth: what policy, critic and reference say of each token, and the advantages that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openbook.lm.adapters.attach import base_alone
from openbook.lm.families.base import Family
from openbook.training.advantages import Floats, explained_variance, gae, token_rewards, whiten
from openbook.training.critic import Critic, said_by
from openbook.training.logprobs import TargetLogprobs
from openbook.training.parallel import Ranks
from openbook.training.precision import products_in
from openbook.training.sources.answers import Answers
from openbook.training.sources.experience import Experience, in_order
from openbook.training.sources.ppo import Judged


class Discounts(NamedTuple):
    """Of GAE. `whitens_rewards`: to variance 1, their mean as it is."""

    gamma: float = 1.0
    lam: float = 0.95
    whitens_rewards: bool = False


class Estimates:
    """Of answers of `policy`, with the values of `critic`. `reference`: what the policy began as; None: the policy without its
    adapter. Advantages have mean 0 and variance 1 over a rollout of all ranks.
    """

    def __init__(
        self,
        policy: Family,
        critic: Critic,
        reference: Family | None,
        discounts: Discounts,
        *,
        temperature: float,
        precision: str = "float32",
        ranks: Ranks | None = None,
    ) -> None:
        self._policy, self._critic, self._reference = policy, critic, reference
        self._discounts, self._temperature, self._precision = discounts, temperature, precision
        self._ranks = ranks or Ranks()

    @torch.no_grad()
    def __call__(self, micros: Sequence[Answers], scores: Sequence[Floats], price: float) -> Judged:
        """scores: of each micro-batch's answers, in their own order. price: of a nat of divergence from the reference."""
        found = [self._judged(one) for one in micros]
        old, values, reference, entropies = (_joined([one[at] for one in found]) for at in range(4))
        orders = [in_order(one).numpy() for one in micros]
        counts = [one.counts.numpy().astype(np.int64)[order] for one, order in zip(micros, orders, strict=True)]
        flat_counts = np.concatenate([np.empty(0, np.int64), *counts])
        flat_scores = np.concatenate([np.empty(0), *(one[order] for one, order in zip(scores, orders, strict=True))])
        divergences = old - reference  # k1
        rewards = token_rewards(flat_scores, divergences, flat_counts, price)
        add_up, (gamma, lam, whitens) = self._ranks.sum, self._discounts
        if whitens:
            rewards = whiten(rewards, shift_mean=False, add_up=add_up)
        advantages, returns = gae(rewards, values, flat_counts, gamma, lam)
        explained = explained_variance(values, returns, add_up)
        whitened = whiten(advantages, add_up=add_up)
        tokens, answers = float(len(old)), float(len(flat_counts))
        told = {
            "kl": (float(divergences.sum()), answers),
            "kl_token": (float(divergences.sum()), tokens),
            "rollout_entropy": (float(entropies.sum()), tokens),
            "value": (float(values.sum()), tokens),
            "return": (float(returns.sum()), tokens),
        } | ({} if explained is None else {"explained_variance": (explained, 1.0)})
        cuts = np.cumsum([len(one.targets) for one in micros])[:-1]
        parts = zip(*(np.split(one, cuts) for one in (old, values, whitened, returns)), strict=True)
        made = [Experience.known(micro, *map(_float32, part)) for micro, part in zip(micros, parts, strict=True)]
        return Judged(made, float(divergences.sum()), told)

    def _judged(self, micro: Answers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with products_in(self._precision, self._policy.device):
            said = said_by(self._policy, self._critic, micro, self._temperature)
            return said.logprobs, said.values, self._by_reference(micro), said.entropies

    def _by_reference(self, micro: Answers) -> Tensor:
        head = TargetLogprobs(micro.targets, temperature=self._temperature)
        if self._reference is not None:
            found: Tensor = self._reference(micro.ids, micro.batch(), rows=micro.rows, head=head)
            return found
        was_training = self._policy.training
        self._policy.eval()
        try:
            with base_alone(self._policy):
                found = self._policy(micro.ids, micro.batch(), rows=micro.rows, head=head)
        finally:
            self._policy.train(was_training)
        return found


def _joined(parts: Sequence[Tensor]) -> Floats:
    return np.concatenate([np.empty(0), *(one.double().numpy() for one in parts)])


def _float32(values: Floats) -> Tensor:
    """Those that were float32 are so again to the bit."""
    return torch.from_numpy(values.astype(np.float32))
