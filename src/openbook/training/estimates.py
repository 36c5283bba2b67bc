"""What episodes have been worth: what policy, critic and reference say of each token, and the advantages that follow.

In reading order: the settings; the learner of PPO, which a source of rollouts asks; how tokens of a micro-batch become those of
its episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.adapters.attach import base_alone
from openbook.lm.families.base import Family
from openbook.training.advantages import Floats, explained_variance, gae, token_rewards, whiten
from openbook.training.critic import Critic, said_by
from openbook.training.kl_control import KlControl
from openbook.training.logprobs import TargetLogprobs
from openbook.training.parallel import Ranks
from openbook.training.precision import products_in
from openbook.training.rollouts.episode import Episode
from openbook.training.sources.answers import Answers
from openbook.training.sources.experience import Experience
from openbook.training.sources.rollouts import Told, Values, in_order

NAMES = ("old", "values", "advantages", "returns")
"""Of each token, what `Experience` holds."""


class Estimation(NamedTuple):
    """gamma, lam: of GAE. `whiten_rewards`: to variance 1, their mean as it is. `missing_eos_penalty`: what an answer pays that
    does not end by itself.
    """

    gamma: float = 1.0
    lam: float = 0.95
    whiten_rewards: bool = False
    missing_eos_penalty: float = 0.0


class Estimates:
    """Of episodes of `policy`, with the values of `critic`. `reference`: what the policy began as; None: the policy without its
    adapter. Advantages have mean 0 and variance 1 over a rollout of all ranks.
    """

    def __init__(
        self,
        policy: Family,
        critic: Critic,
        reference: Family | None,
        control: KlControl,
        settings: Estimation,
        *,
        temperature: float,
        precision: str = "float32",
        ranks: Ranks | None = None,
    ) -> None:
        self._policy, self._critic, self._reference = policy, critic, reference
        self._control, self._settings = control, settings
        self._temperature, self._precision, self._ranks = temperature, precision, ranks or Ranks()

    @torch.no_grad()
    def prepare(self, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]) -> tuple[Values, Told]:
        """`NAMES` of each episode, judged in the part that it is first learned in, so that ratios begin as 1 to the bit."""
        found = self._judged(rolled, parts)
        counts = np.array([len(one) for one in found["old"]], np.int64)
        flat = {name: np.concatenate([np.empty(0), *each]) for name, each in found.items()}
        rewards, old, values = self._rewards(rolled, flat, counts), flat["old"], flat["values"]
        (gamma, lam, *_), add_up = self._settings, self._ranks.sum
        advantages, returns = gae(rewards, values, counts[counts > 0], gamma, lam)
        explained = explained_variance(values, returns, add_up)
        told: dict[str, tuple[float, float]] = {
            "value": (float(values.sum()), float(len(values))),
            "return": (float(returns.sum()), float(len(values))),
        }
        if explained is not None:
            told["explained_variance"] = explained, 1.0
        made = zip(NAMES, (old, values, whiten(advantages, add_up=add_up), returns), strict=True)
        cuts = np.cumsum(counts)[:-1]
        said = {name: np.split(one.astype(np.float32), cuts) for name, one in made}
        return said, {**told, **self._priced(flat, counts)}

    def micro(
        self, episodes: Sequence[Episode], values: Values, places: Sequence[int], told: Told, *, is_first: bool
    ) -> Experience:
        chosen = [episodes[place] for place in places]
        known = {name: in_order(chosen, [values[name][place] for place in places]) for name in NAMES}
        known["sampled"] = in_order(chosen, [one.sampled for one in chosen])
        answers = Answers.of([one.answer for one in chosen])
        return Experience(**vars(answers) | known, told=told, is_first=is_first)

    def has_signal(self, group: Sequence[Episode]) -> bool:
        """Values say what was expected, not the others of a group."""
        return True

    def state(self) -> dict[str, Any]:
        return {"price": self._control.price}

    def resume(self, state: dict[str, Any]) -> None:
        self._control.price = float(state["price"])

    def _rewards(self, rolled: Sequence[Episode], flat: dict[str, Floats], counts: NDArray[np.int64]) -> Floats:
        """(M,): of each token what it pays for its divergence (k1), and the score at the last one."""
        missing = self._settings.missing_eos_penalty
        scores = np.array([one.reward - missing * (not one.is_finished) for one in rolled], np.float64)[counts > 0]
        found = token_rewards(scores, flat["old"] - flat["reference"], counts[counts > 0], self._control.price)
        if self._settings.whiten_rewards:
            found = whiten(found, shift_mean=False, add_up=self._ranks.sum)
        return found

    def _priced(self, flat: dict[str, Floats], counts: NDArray[np.int64]) -> Told:
        """Of the divergence, for which the price of the next rollout is made."""
        answers, tokens = float((counts > 0).sum()), float(counts.sum())
        divergence = float((flat["old"] - flat["reference"]).sum())
        told = {"kl": (divergence, tokens), "kl_answer": (divergence, answers), "kl_price": (self._control.price, 1.0)}
        total, count = self._ranks.sum([divergence, answers])
        if count:
            self._control.saw(total / count, round(count))
        return told

    def _judged(self, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]) -> dict[str, list[Floats]]:
        """old, values and reference, of each episode."""
        asked = sorted(place for part in parts for place in part)
        size = max((len(part) for part in parts), default=len(rolled))
        others = sorted(set(range(len(rolled))) - set(asked))
        found: dict[str, list[Floats]] = {name: [np.empty(0)] * len(rolled) for name in ("old", "values", "reference")}
        for part in (*parts, *(others[at : at + size] for at in range(0, len(others), size))):
            chosen = [rolled[place] for place in part]
            micro = Answers.of([one.answer for one in chosen])
            with products_in(self._precision, self._policy.device):
                said = said_by(self._policy, self._critic, micro, self._temperature)
                each = said.logprobs, said.values, self._by_reference(micro)
            for name, values in zip(found, each, strict=True):
                for place, own in zip(part, _of_each(micro, values), strict=True):
                    found[name][place] = own
        return found

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


def _of_each(micro: Answers, values: Tensor) -> list[Floats]:
    """(M,) -> of each answer its tokens', float64."""
    wide = values.double().numpy()
    owners = micro.owners.numpy()
    return [wide[owners == place] for place in range(len(micro))]
