"""A small policy, answers that it could have written, and all that PPO makes of them."""

from __future__ import annotations

import numpy as np
import torch

from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.training.critic import Critic, SeparateCritic, SharedCritic
from openbook.training.estimates import Discounts, Estimates
from openbook.training.sources.answers import Answer, Answers
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


def answers(seed: int = 4) -> list[Answer]:
    """The last one has a token in its middle that something else wrote."""
    draw = np.random.default_rng(seed)
    made = []
    for asked, written in LENGTHS:
        marks = np.arange(asked + written) >= asked
        made.append((draw.integers(0, 40, asked + written), marks))
    made[-1][1][5] = False
    return made


def judged(
    model: Family,
    beside: Critic,
    reference: Family | None = None,
    *,
    scores: list[float] | None = None,
    price: float = 0.05,
) -> list[Experience]:
    """`answers` in two micro-batches."""
    made = answers()
    micros = [Answers.of(made[:4]), Answers.of(made[4:])]
    given = np.array(scores if scores is not None else [1.0, 0.0, 2.0, -1.0, 0.5, 0.25])
    estimates = Estimates(model, beside, reference or model, Discounts(), temperature=0.7)
    return estimates(micros, [given[:4], given[4:]], price).micros
