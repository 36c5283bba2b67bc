"""The plain reference loop: one token after the other from a contiguous cache, greedy or sampled.

It is the oracle of everything faster: same model, same batch code, nothing clever.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openbook.lm.families.llama import Llama
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cache import ContiguousCache


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 takes the likeliest token. `top_k` 0 and `top_p` 1 keep all. `seed`: the same draws again."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


@torch.inference_mode()
def generate(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
) -> list[list[int]]:
    """The new tokens of each prompt, up to and with the first of `stop`. Raises ValueError on an empty prompt."""
    config = model.config
    sampling = sampling or Sampling()
    longest = max((len(prompt) for prompt in prompts), default=0) + max_new_tokens
    dtype = model.tokens.weight.dtype
    cache = ContiguousCache(config.num_layers, len(prompts), longest, config.num_kv_heads, config.head_dim, dtype)
    generator = torch.Generator().manual_seed(sampling.seed)
    out: list[list[int]] = [[] for _ in prompts]
    seen = [0] * len(prompts)
    new = [list(prompt) for prompt in prompts]
    for _ in range(max_new_tokens):
        batch = Batch.of([len(one) for one in new], cache=cache, seen=seen)
        ids = torch.tensor([token for one in new for token in one])
        logits = model(ids, batch, rows=batch.starts[1:] - 1)  # (S, V)
        seen = [before + len(one) for before, one in zip(seen, new, strict=True)]
        chosen: list[int] = choose(logits.float(), sampling, generator).tolist()
        new = [[token] for token in chosen]
        for tokens, token in zip(out, chosen, strict=True):
            if not (tokens and tokens[-1] in stop):
                tokens.append(token)
        if all(tokens[-1] in stop for tokens in out):
            break
    return out


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """logits: (S, V) -> (S,) the next tokens. Source of top-p: Holtzman et al. 2019, https://arxiv.org/abs/1904.09751"""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        shares = ordered.softmax(dim=-1)
        is_out = shares.cumsum(dim=-1) - shares >= sampling.top_p  # what comes after the mass is full; never the first
        logits = logits.masked_fill(is_out.scatter(1, places, is_out), float("-inf"))
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]
