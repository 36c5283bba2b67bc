"""What a state is worth: of each token of an answer, before it is written. By a head over the policy's own hidden rows, or by a
model of its own.

A critic is trained beside the policy and is no part of it: the policy is saved as any model. In reading order: what both say of
answers; the two kinds of critics.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.core.errors import ModelUnavailable
from openbook.lm.families.base import Family
from openbook.lm.nn.linear import Linear
from openbook.training.logprobs import TargetLogprobs
from openbook.training.sources.answers import Answers


class Said(NamedTuple):
    """Of the M tokens of some answers, float32: log-probabilities, values of what stood before each, and entropies (without
    gradient) of the distributions that they were drawn from.
    """

    logprobs: Tensor
    values: Tensor
    entropies: Tensor


class SharedCritic(nn.Module):
    """A linear map of the policy's last hidden rows, zero at first: all values are 0.

    Source: Ziegler et al. 2019, https://arxiv.org/abs/1909.08593, section 2.2 (a head on the policy's trunk).
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.head = Linear(hidden_size, 1)
        nn.init.zeros_(self.head.weight)

    def values(self, hidden: Tensor) -> Tensor:
        """hidden: (M, E) -> (M,) float32, whatever the format of products is."""
        with torch.autocast(hidden.device.type, enabled=False):
            found: Tensor = self.head(hidden.float())
        return found[:, 0]

    def said(self, policy: Family, micro: Answers, head: TargetLogprobs) -> Said:
        def both(hidden: Tensor, vocabulary: nn.Module | None) -> Tensor:
            return torch.stack([head(hidden, vocabulary), self.values(hidden)])  # (2, M)

        logprobs, values = policy(micro.ids, micro.batch(), rows=micro.rows, head=both)
        return Said(logprobs, values, head.entropies)


class SeparateCritic(nn.Module):
    """A model with a head of one label, as `lm.heads.load_with_score` gives it: a reward model, or one whose head is zero."""

    def __init__(self, model: Family) -> None:
        """ModelUnavailable for a model that sees what comes after a token."""
        super().__init__()
        if not model.causal or model.config.num_labels != 1:
            raise ModelUnavailable("a critic is a decoder with a head of one label", "give a reward model, or none")
        self.model = model

    def said(self, policy: Family, micro: Answers, head: TargetLogprobs) -> Said:
        logprobs = policy(micro.ids, micro.batch(), rows=micro.rows, head=head)
        values = self.model(micro.ids, micro.batch(), rows=micro.rows).float()[:, 0]
        return Said(logprobs, values, head.entropies)


Critic = SharedCritic | SeparateCritic


def said_by(policy: Family, critic: Critic, micro: Answers, temperature: float) -> Said:
    """Of both, with nothing dropped out: else a ratio of probabilities would not begin as 1."""
    head = TargetLogprobs(micro.targets, temperature=temperature, wants_entropy=True)
    with _steady(policy), _steady(critic):
        return critic.said(policy, micro, head)


@contextmanager
def _steady(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
