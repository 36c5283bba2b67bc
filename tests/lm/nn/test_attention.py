"""Attention, to itself and to a source, against the equation written down in float64."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from openbook.lm.nn.attention import Attention
from openbook.lm.nn.batch import Batch
from openbook.lm.nn.cache import ContiguousCache
from openbook.lm.nn.cross import CrossAttention, Source

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def scrambled(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return module.requires_grad_(False)


def equation(q: Tensor, k: Tensor, v: Tensor, scale: float, allowed: Tensor, bias: Tensor | None = None) -> Tensor:
    """q: (T, H, D); k, v: (K, G, D); allowed: (T, K) -> (T, H D), one head and one query at a time."""
    T, H, D = q.shape
    out = torch.zeros(T, H, D, dtype=torch.float64)
    for head in range(H):
        group = head * k.shape[1] // H
        for t in range(T):
            scores = [
                float(q[t, head] @ k[s, group]) * scale + (0.0 if bias is None else float(bias[head, t, s]))
                for s in range(len(k))
            ]
            weights = [math.exp(score) if allowed[t, s] else 0.0 for s, score in enumerate(scores)]
            for s, weight in enumerate(weights):
                out[t, head] += weight / sum(weights) * v[s, group]
    return out.flatten(1)


@given(
    lengths=LENGTHS,
    kv_heads=st.sampled_from((1, 2, 4)),
    window=st.sampled_from((None, 1, 2, 4)),
    causal=st.booleans(),
    scale=st.sampled_from((None, 1.0)),
    is_biased=st.booleans(),
    is_watched=st.booleans(),
    seed=st.integers(0, 99),
)
def test_self_attention_is_the_equation(lengths, kv_heads, window, causal, scale, is_biased, is_watched, seed) -> None:
    window = window if causal else None
    layer = scrambled(Attention(8, 4, kv_heads, 3, window=window, scale=scale), seed)
    if is_watched:
        layer.probabilities.register_forward_hook(lambda *args: None)
    batch = Batch.of(lengths, causal=causal)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), 8, dtype=torch.float64, generator=generator)
    biases = {(n, n): torch.randn(4, n, n, dtype=torch.float64, generator=generator) for n in lengths}
    found = layer(x, batch, None, biases if is_biased else None)
    parts = []
    for begin, end in pairwise(batch.starts.tolist()):
        one, n = x[begin:end], end - begin
        q, k, v = (p(one).unflatten(-1, (-1, 3)) for p in (layer.q, layer.k, layer.v))
        behind = torch.arange(n)[:, None] - torch.arange(n)
        allowed = (behind >= 0) if causal else torch.ones(n, n, dtype=torch.bool)
        allowed = allowed & (behind < window) if window else allowed
        mixed = equation(q, k, v, scale or 3**-0.5, allowed, biases[n, n] if is_biased else None)
        parts.append(layer.out(mixed))
    assert torch.allclose(found, torch.cat(parts), atol=1e-9)


@given(
    written=LENGTHS,
    read=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    seed=st.integers(0, 99),
    watch=st.booleans(),
)
def test_cross_attention_is_the_equation(written: list[int], read: list[int], seed: int, watch: bool) -> None:
    read = read[: len(written)]
    layer = scrambled(CrossAttention(8, 2, 3, scale=1.0, layer=0), seed)
    if watch:
        layer.probabilities.register_forward_hook(lambda *args: None)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(written), 8, dtype=torch.float64, generator=generator)
    encoded = torch.randn(sum(read), 8, dtype=torch.float64, generator=generator)
    keys, values = layer.read(encoded)
    found = layer(x, Batch.of(written), Source([keys], [values], read))
    parts = []
    for one, other in zip(x.split(written), encoded.split(read), strict=True):
        q, k, v = layer.q(one), layer.k(other), layer.v(other)
        everything = torch.ones(len(one), len(other), dtype=torch.bool)
        mixed = equation(*(part.unflatten(-1, (-1, 3)) for part in (q, k, v)), 1.0, everything)
        parts.append(layer.out(mixed))
    assert torch.allclose(found, torch.cat(parts), atol=1e-9)


def test_a_source_for_another_number_of_sequences_is_refused() -> None:
    layer = CrossAttention(8, 2, 3, scale=1.0, layer=0)
    keys, values = layer.read(torch.randn(5, 8))
    with pytest.raises(ValueError, match="reads 3 sequences, the encoder has read 2"):
        layer(torch.randn(3, 8), Batch.of([1, 1, 1]), Source([keys], [values], [2, 3]))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.sampled_from((None, 2)), st.integers(0, 99))
def test_sequences_of_different_lengths_grow_in_one_cache(cuts: list[int], window: int | None, seed: int) -> None:
    layer = scrambled(Attention(8, 4, 2, 3, window=window), seed)
    generator = torch.Generator().manual_seed(seed)
    totals = [sum(cuts), sum(cuts) + 2 * len(cuts)]  # the second sequence gets two more at each step
    whole = [torch.randn(total, 8, dtype=torch.float64, generator=generator) for total in totals]
    cache = ContiguousCache(1, 2, max(totals), 2, 3, torch.float64)
    seen, found = [0, 0], [[], []]
    for cut in cuts:
        new = [cut, cut + 2]
        batch = Batch.of(new, cache=cache, seen=seen)
        parts = [one[before : before + count] for one, before, count in zip(whole, seen, new, strict=True)]
        for place, part in enumerate(layer(torch.cat(parts), batch).split(new)):
            found[place].append(part)
        seen = [before + count for before, count in zip(seen, new, strict=True)]
    for one, parts in zip(whole, found, strict=True):
        assert torch.allclose(torch.cat(parts), layer(one, Batch.of([len(one)])), atol=1e-9)
