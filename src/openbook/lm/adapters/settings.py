"""What an adapter is made of, free of torch: one frozen dataclass a kind. Each names its paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from openbook.core.errors import UsageError
from openbook.lm.nn.activation import ACTIVATIONS, Activation

Targets = tuple[str, ...]
"""Ends of module names, ours ("attention.q") or the checkpoint's ("q_proj"); or "attention", or "all-linear"."""


@dataclass(frozen=True)
class LoraSettings:
    """W x + s B A x, with A (r, in), B (out, r) and s = alpha / r, or alpha / sqrt(r) if `is_rank_stabilized`.

    `is_dora`: the sum W + s B A is rescaled row by row to a learned length. `trained_modules`: modules that are trained
    whole. `rank_pattern`, `alpha_pattern`: name's end -> r and alpha that differ there.
    Sources: Hu et al. 2021, https://arxiv.org/abs/2106.09685; Kalajdzievski 2023, https://arxiv.org/abs/2312.03732
    (rsLoRA); Liu et al. 2024, https://arxiv.org/abs/2402.09353 (DoRA).
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: Targets = ("attention",)
    is_rank_stabilized: bool = False
    is_dora: bool = False
    trained_modules: Targets = ()
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rank in (self.r, *self.rank_pattern.values()):
            if rank < 1:
                raise UsageError(f"rank {rank} is none", "give 1 or more")
        for alpha in (self.alpha, *self.alpha_pattern.values()):
            if not math.isfinite(alpha):
                raise UsageError(f"alpha {alpha} is no number", "give a finite one")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout {self.dropout} is no share", "give 0 or more and below 1")
        if not self.target_modules and not self.trained_modules:
            raise UsageError("nothing is adapted", "name target_modules or trained_modules")

    def rank_of(self, *names: str) -> int:
        """The rank of a module that goes by these names."""
        return next((rank for end, rank in self.rank_pattern.items() if named(end, names)), self.r)

    def alpha_of(self, *names: str) -> float:
        """The alpha of a module that goes by these names."""
        return next((alpha for end, alpha in self.alpha_pattern.items() if named(end, names)), self.alpha)

    def scale_of(self, *names: str) -> float:
        """What B A is multiplied by in this module."""
        rank = self.rank_of(*names)
        return self.alpha_of(*names) / (math.sqrt(rank) if self.is_rank_stabilized else rank)


@dataclass(frozen=True)
class BottleneckSettings:
    """y + up(activation(down(y))) behind the output of attention and of the MLP, `size` wide.

    Source: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, section 2.1. `up` starts at zero instead of near it.
    """

    size: int = 32
    activation: Activation = "gelu"
    target_modules: Targets = ("attention.out", "mlp.down")

    def __post_init__(self) -> None:
        _at_least_one(self.size, "size")
        if self.activation not in ACTIVATIONS.values():
            known = ", ".join(sorted(set(ACTIVATIONS.values())))
            raise UsageError(f"activation {self.activation!r} is not known", f"known are {known}")


@dataclass(frozen=True)
class PrefixSettings:
    """`num_virtual_tokens` learned keys and values at the head of every layer's cache.

    `projection_size`: they come out of a two-layer network of that width while they are trained (0: they are learned
    as they are). Sources: Li & Liang 2021, https://arxiv.org/abs/2101.00190 (prefix tuning, with the network); Liu et
    al. 2021, https://arxiv.org/abs/2110.07602 (P-tuning v2: deep prompts, the network optional).
    """

    num_virtual_tokens: int = 20
    projection_size: int = 0

    def __post_init__(self) -> None:
        _at_least_one(self.num_virtual_tokens, "num_virtual_tokens")


@dataclass(frozen=True)
class PromptSettings:
    """`num_virtual_tokens` learned embeddings before every sequence; `initial_ids`: tokens whose embeddings they start as.

    With fewer ids than tokens they are repeated; with none, tokens are drawn. Source: Lester et al. 2021,
    https://arxiv.org/abs/2104.08691.
    """

    num_virtual_tokens: int = 20
    initial_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _at_least_one(self.num_virtual_tokens, "num_virtual_tokens")


Settings = LoraSettings | BottleneckSettings | PrefixSettings | PromptSettings
Kind = Literal["lora", "bottleneck", "prefix", "prompt"]


def named(end: str, names: tuple[str, ...]) -> bool:
    """Whether one of the names is `end` or ends in it at a dot."""
    return any(name == end or name.endswith(f".{end}") for name in names)


def described(settings: Settings) -> str:
    """The settings that are not the default, on one line."""
    changed = (
        f"{one.name}={getattr(settings, one.name)!r}"
        for one in fields(settings)
        if getattr(settings, one.name) != getattr(type(settings)(), one.name)
    )
    return f"{type(settings).__name__}({', '.join(changed)})"


def _at_least_one(count: int, what: str) -> None:
    if count < 1:
        raise UsageError(f"{what} is {count}", "give 1 or more")
