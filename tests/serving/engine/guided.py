"""Tiny models that write and score chats, and what guided decoding is by brute force: nothing cached, one sequence."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from lm.checkpoints import TINY
from openbook.lm.families.base import Family
from openbook.lm.load import new_model
from openbook.lm.nn.batch import Batch
from openbook.lm.reward import RewardModel, Settings
from openbook.lm.tokenizers.default import default_tokenizer

TOKENIZER = default_tokenizer()
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
SCORES = {"num_labels": 1, "id2label": {"0": "LABEL_0"}}


def _strong(model: Family) -> Family:
    """Weights so large that nothing is a matter of rounding."""
    for name, parameter in model.requires_grad_(False).named_parameters():
        if parameter.ndim > 1 and "tokens" not in name and "positions" not in name:
            parameter *= 6
    return model


@cache
def writer() -> Family:
    return _strong(new_model(TINY | {"vocab_size": TOKENIZER.vocab_size, "max_position_embeddings": 128}, seed=2))


@cache
def scorer(kind: str = "llama", prompts: Any = "chat", steps: Any = "answers") -> RewardModel:
    shape = TINY | {"max_position_embeddings": 128} if kind == "llama" else GPT2
    name = "LlamaForSequenceClassification" if kind == "llama" else "GPT2ForSequenceClassification"
    raw = shape | SCORES | {"vocab_size": TOKENIZER.vocab_size, "architectures": [name], "tie_word_embeddings": False}
    return RewardModel(_strong(new_model(raw, seed=7)), TOKENIZER, Settings(steps, prompts, 128))


def prompt_of(text: str) -> list[int]:
    return TOKENIZER.render([{"role": "user", "content": text}], add_generation_prompt=True, spans=False).ids


@torch.no_grad()
def logits_of(model: Family, ids: list[int]) -> torch.Tensor:
    batch = Batch.of([len(ids)])
    found: torch.Tensor = model(torch.tensor(ids), batch, rows=batch.starts[1:] - 1)
    return found[0]


def by_brute_force(
    prompt: list[int], steps: int, weight: float, top_k: int, closing: list[int], kind: str
) -> list[int]:
    tokens = list(prompt)
    for _ in range(steps):
        values, candidates = logits_of(writer(), tokens).topk(top_k)
        scores = [
            float(
                logits_of(scorer(kind).model, [*tokens, *([] if token in TOKENIZER.eos_ids else [token]), *closing])[0]
            )
            for token in candidates.tolist()
        ]
        tokens.append(int(candidates[(values + weight * torch.tensor(scores)).argmax()]))
        if tokens[-1] in TOKENIZER.eos_ids:
            break
    return tokens[len(prompt) :]
