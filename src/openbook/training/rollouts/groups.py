"""Groups of completions of one prompt, each worth what it is better than the others: GRPO and its kin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from openbook.lm.adapters.attach import base_alone
from openbook.lm.families.base import Family
from openbook.training.advantages import group_advantages, has_signal
from openbook.training.objectives.policy import known_token_logprobs
from openbook.training.objectives.policy_names import Baseline
from openbook.training.parallel import Ranks
from openbook.training.precision import products_in
from openbook.training.rollouts.episode import Episode
from openbook.training.sources.rollouts import Rollouts, Told, Values, in_order


class GroupLearner:
    """`reference`: the model that the run began with, where the loss has it: the same model, its adapter off, or a copy.
    `needs_old`: several steps learn from a rollout, so that the policy that began is to be known.
    """

    def __init__(
        self,
        model: Family,
        baseline: Baseline,
        ranks: Ranks,
        *,
        temperature: float,
        precision: str,
        needs_old: bool,
        reference: Family | None = None,
    ) -> None:
        self._model, self._baseline, self._ranks = model, baseline, ranks
        self._temperature, self._precision = temperature, precision
        self._needs_old, self._reference = needs_old, reference

    def has_signal(self, group: Sequence[Episode]) -> bool:
        rewards = np.array([one.reward for one in group])
        return has_signal(rewards[np.isfinite(rewards)])

    def prepare(self, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]) -> tuple[Values, Told]:
        rewards = np.array([one.reward for one in rolled])
        names, groups = np.unique([one.group for one in rolled], return_inverse=True)
        found = group_advantages(self._baseline, rewards, groups, self._ranks.sum)
        values: dict[str, list[NDArray[np.float32]]] = {
            "advantages": [
                np.full(one.num_learned, value, np.float32) for one, value in zip(rolled, found.values, strict=True)
            ]
        }
        if self._needs_old:
            values["old"] = self._asked(self._model, rolled, parts)
        if self._reference is self._model:
            with base_alone(self._model):
                values["reference"] = self._asked(self._model, rolled, parts)
        elif self._reference is not None:
            values["reference"] = self._asked(self._reference, rolled, parts)
        idle = float((~found.has_signal).sum())
        return values, {"no_signal": (idle, float(len(names)))}

    def micro(
        self, episodes: Sequence[Episode], values: Values, places: Sequence[int], told: Told, *, is_first: bool
    ) -> Rollouts:
        chosen = [episodes[place] for place in places]
        known = {name: in_order(chosen, [each[place] for place in places]) for name, each in values.items()}
        return Rollouts(
            **vars(Rollouts.of([one.answer for one in chosen]))
            | {"sampled": in_order(chosen, [one.sampled for one in chosen]), "told": told, "is_first": is_first}
            | known
        )

    def _asked(
        self, model: Family, rolled: Sequence[Episode], parts: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Log-probabilities of each episode's tokens, in the micro-batches of the first pass."""
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rolled)
        for part in parts:
            micro = Rollouts.of([rolled[place].answer for place in part])
            with products_in(self._precision, model.device):
                logprobs = known_token_logprobs(model, micro, self._temperature)
            for at, place in enumerate(part):
                found[place] = logprobs[micro.owners == at].float().numpy()
        return found


def frozen_copy(model: Family) -> Family:
    """The model as it is now, which nothing trains."""
    from copy import deepcopy

    with torch.no_grad():
        return deepcopy(model).eval().requires_grad_(False)
