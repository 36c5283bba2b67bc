"""The plain reference loop: one token after the other from a contiguous cache, greedy or sampled.

It is the oracle of everything faster: same model, same batch code, nothing clever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.lm.families.t5 import T5
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
    model: Family,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
) -> list[list[int]]:
    """The new tokens of each prompt, up to and with the first of `stop`.

    An encoder-decoder reads the prompts with its encoder and writes from its start token, which is not among the new ones.
    Raises ValueError on an empty prompt, and for a model that writes nothing.
    """
    sampling = sampling or Sampling()
    if not prompts or max_new_tokens < 1:
        return [[] for _ in prompts]
    step, new, layers = _writer(model, prompts)
    longest = max(len(prompt) for prompt in new) + max_new_tokens
    config = model.config
    cache = ContiguousCache(
        layers, len(new), longest, config.num_kv_heads, config.head_dim, model.dtype, device=model.device
    )
    generator = torch.Generator(model.device).manual_seed(sampling.seed)
    out: list[list[int]] = [[] for _ in prompts]
    seen = [0] * len(prompts)
    for _ in range(max_new_tokens):
        batch = Batch.of([len(one) for one in new], cache=cache, seen=seen, device=model.device)
        ids = torch.tensor([token for one in new for token in one], device=model.device)
        logits = step(ids, batch)  # (S, V)
        seen = [before + len(one) for before, one in zip(seen, new, strict=True)]
        chosen: list[int] = choose(logits.float(), sampling, generator).tolist()
        new = [[token] for token in chosen]
        for tokens, token in zip(out, chosen, strict=True):
            if not (tokens and tokens[-1] in stop):
                tokens.append(token)
        if all(tokens[-1] in stop for tokens in out):
            break
    return out


Step = Callable[[Tensor, Batch], Tensor]


def _writer(model: Family, prompts: Sequence[Sequence[int]]) -> tuple[Step, list[list[int]], int]:
    """What gives the logits (S, V) of the last token of each sequence, the tokens to begin with, and the layers of its cache."""
    if isinstance(model, T5):
        batch = Batch.of([len(prompt) for prompt in prompts], causal=False, device=model.device)
        source = model.read(torch.tensor([token for one in prompts for token in one], device=model.device), batch)

        def write(ids: Tensor, batch: Batch) -> Tensor:
            rows = batch.starts[1:] - 1
            out: Tensor = model(None, None, decoder_input_ids=ids, decoder_batch=batch, source=source, rows=rows)
            return out

        return write, [[model.config.start_id] for _ in prompts], model.config.num_decoder_layers
    if not model.causal:
        raise ValueError(f"a {model.config.model_type} model is an encoder: it writes nothing")

    def read_on(ids: Tensor, batch: Batch) -> Tensor:
        out: Tensor = model(ids, batch, rows=batch.starts[1:] - 1)
        return out

    return read_on, [list(prompt) for prompt in prompts], model.config.num_layers


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
