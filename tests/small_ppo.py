"""A small policy, episodes that it could have written, and all that PPO makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.training.critic import Critic, SeparateCritic, SharedCritic
from openbook.training.estimates import Estimates, Estimation
from openbook.training.kl_control import KlControl
from openbook.training.rollouts.episode import Episode
from openbook.training.sources.answers import Answer
from openbook.training.sources.experience import Experience

TINY = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
LENGTHS = [(4, 5), (3, 1), (6, 9), (2, 4), (5, 2), (3, 7)]
"""Tokens of each prompt and of each answer."""


def policy(seed: int = 1) -> Family:
    return new_model(TINY, seed=seed).requires_grad_(True)


def scorer(seed: int = 2) -> Family:
    """With a head of one label that is not zero."""
    raw = TINY | {"architectures": ["LlamaForSequenceClassification"], "num_labels": 1, "tie_word_embeddings": False}
    return new_model(raw, seed=seed).requires_grad_(True)


def shared(is_zero: bool = True) -> SharedCritic:
    critic = SharedCritic(16)
    if not is_zero:
        torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(3))
    return critic


def critic(kind: str) -> Critic:
    return shared(is_zero=False) if kind == "shared" else SeparateCritic(scorer())


PARTS = [[0, 1, 2, 3], [4, 5]]
PLAIN = Estimation()
SCORES = [1.0, 0.0, 2.0, -1.0, 0.5, 0.25]


def episodes(scores: Sequence[float] = SCORES, seed: int = 4) -> list[Episode]:
    """The last one has a token in its middle that something else wrote."""
    draw = np.random.default_rng(seed)
    made = []
    for number, ((asked, written), score) in enumerate(zip(LENGTHS, scores, strict=True)):
        ids = draw.integers(0, 40, asked + written).tolist()
        learned = [True] * written
        learned[2:3] = [number < 5] * len(learned[2:3])
        made.append(Episode(number, number, ids[:asked], ids[asked:], learned, [0.0] * sum(learned), True, "", score))
    return made


def answers() -> list[Answer]:
    return [one.answer for one in episodes()]


def estimates(
    model: Family,
    beside: Critic,
    reference: Family | None,
    settings: Estimation = PLAIN,
    price: float = 0.05,
    temperature: float = 0.7,
) -> Estimates:
    return Estimates(model, beside, reference, KlControl(price), settings, temperature=temperature)


def judged(
    model: Family,
    beside: Critic,
    reference: Family | None = None,
    *,
    scores: Sequence[float] = SCORES,
    price: float = 0.05,
) -> list[Experience]:
    """In two micro-batches."""
    learner, made = estimates(model, beside, reference or model, price=price), episodes(scores)
    values, told = learner.prepare(made, PARTS)
    return [learner.micro(made, values, part, told if not part[0] else {}, is_first=True) for part in PARTS]
