"""Tokens that are learned and never read: keys and values at the head of the cache of every layer.

Prefix tuning and P-tuning v2 learn the keys and values themselves. Prompt tuning learns embeddings; what follows them can
see them, they see nothing of it: so their keys and values are the same before every sequence, and are made once a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch, Run
from openbook.lm.nn.cache import KvCache
from openbook.lm.nn.linear import Linear

Heads = list[tuple[Tensor, Tensor]]
"""Of every layer: keys and values (P, G, D)."""


class Virtual(nn.Module, ABC):
    """P virtual tokens. `heads` makes their keys and values."""

    num_virtual_tokens: int

    @abstractmethod
    def heads(self, model: Family) -> Heads: ...

    @abstractmethod
    def table(self) -> Tensor:
        """What is saved: (P, ...)."""

    def placed(self, model: Any, batch: Batch) -> Batch:
        """The batch whose sequences come after the virtual tokens: positions move on by P, each token sees P more."""
        P = self.num_virtual_tokens
        lengths = batch.starts.diff() if batch.lengths is None else batch.lengths
        cache = HeadedCache(self.heads(model), batch)
        found = replace(batch, positions=batch.positions + P, cache=cache, lengths=lengths + P)
        found.__dict__["runs"] = [run._replace(visible=run.visible + P) for run in batch.runs]
        return found


class Prefix(Virtual):
    """Keys and values themselves: one row (2 L G D) a virtual token, layer by layer, keys before values.

    With `projection_size`, the row of a token is W2 tanh(W1 e + b1) + b2 of a learned e (G D); only the rows are saved.
    """

    def __init__(self, model: Family, num_virtual_tokens: int, projection_size: int = 0) -> None:
        super().__init__()
        config = model.config
        self.num_virtual_tokens = num_virtual_tokens
        self.shape = num_virtual_tokens, 2 * config.num_layers, config.num_kv_heads, config.head_dim
        width = config.num_kv_heads * config.head_dim
        row = 2 * config.num_layers * width
        self.rows = nn.Parameter(torch.zeros(num_virtual_tokens, width if projection_size else row))
        self.first = Linear(width, projection_size) if projection_size else None
        self.second = Linear(projection_size, row) if projection_size else None

    def initialise(self, generator: torch.Generator) -> None:
        """Draws everything with deviation 0.02; biases are zero."""
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.empty(parameter.shape).normal_(0.0, 0.02, generator=generator))

    def table(self) -> Tensor:
        if self.first is None or self.second is None:
            return self.rows
        return self.second(self.first(self.rows).tanh())  # type: ignore[no-any-return]

    def heads(self, model: Family) -> Heads:
        keys_values = self.table().view(self.shape).transpose(0, 1)  # (2 L, P, G, D)
        return list(zip(keys_values[0::2], keys_values[1::2], strict=True))


class Prompt(Virtual):
    """Embeddings (P, E), read once by the model itself."""

    def __init__(self, num_virtual_tokens: int, hidden_size: int) -> None:
        super().__init__()
        self.num_virtual_tokens = num_virtual_tokens
        self.embeddings = nn.Parameter(torch.zeros(num_virtual_tokens, hidden_size))

    def initialise(self, model: Family, ids: tuple[int, ...], generator: torch.Generator) -> None:
        """Starts as the embeddings of `ids`, repeated as often as it takes; of drawn tokens where there are none."""
        words = model.get_submodule("tokens")
        P, V = self.num_virtual_tokens, model.config.vocab_size
        chosen = (
            torch.tensor([ids[place % len(ids)] for place in range(P)])
            if ids
            else torch.randint(0, V, (P,), generator=generator)
        )
        with torch.no_grad():
            self.embeddings.copy_(words(chosen.to(model.device)))

    def table(self) -> Tensor:
        return self.embeddings

    def heads(self, model: Family) -> Heads:
        """The model reads the embeddings as a sequence of its own, at positions 0 to P - 1."""
        P, device = self.num_virtual_tokens, self.embeddings.device
        kept = KeptCache()
        positions, starts = torch.arange(P, device=device), torch.arange(2, device=device) * P
        batch = Batch(positions, starts, cache=kept, lengths=starts[1:])
        batch.__dict__["runs"] = [Run(0, 1, P, 0, P)]  # known here: nothing has to be read from a device
        embeddings = self.embeddings.to(model.dtype)
        model(torch.zeros_like(positions), batch, input_embeds=embeddings, rows=positions[-1:], head="hidden")
        return [kept.layers[layer] for layer in sorted(kept.layers)]


class KeptCache:
    """Holds what one call without a past wrote, for reading it back with gradients."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        self.layers[layer] = k, v

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        rows = slice(run.start, run.start + run.sequences * run.length)
        k, v = (one[rows].view(run.sequences, run.length, *one.shape[1:]) for one in self.layers[layer])
        return k, v


class HeadedCache:
    """Read-only keys and values before those of another cache, or before those of this call where there is none."""

    def __init__(self, heads: Heads, batch: Batch) -> None:
        self.heads = heads
        self.batch = batch
        self.inner: KvCache = KeptCache() if batch.cache is None else batch.cache

    def write(self, layer: int, batch: Batch, k: Tensor, v: Tensor) -> None:
        self.inner.write(layer, self.batch, k, v)

    def read(self, layer: int, run: Run) -> tuple[Tensor, Tensor]:
        k, v = self.heads[layer]
        own = self.inner.read(layer, run._replace(visible=run.visible - len(k)))
        B = run.sequences
        keys, values = (
            torch.cat([head.to(mine.dtype).expand(B, *head.shape), mine], dim=1)
            for head, mine in zip((k, v), own, strict=True)
        )
        return keys, values
