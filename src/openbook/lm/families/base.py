"""What all families share: how a caller asks for an output, and where each parameter is in a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from openbook.core.errors import UsageError
from openbook.lm.nn.packed_cache import PackedStorage
from openbook.lm.nn.paged import PagedStorage

Head = Literal["logits", "hidden"] | Callable[[Tensor, nn.Module | None], Tensor]
"""A callable gets the hidden rows and the module that makes logits of them, e.g. a chunked cross-entropy."""


def check_head(head: object, known: Collection[str], model_type: str) -> None:
    """Raises UsageError, which names the heads there are, unless `head` is a callable or one of `known`."""
    if not callable(head) and head not in known:
        raise UsageError(
            f"a {model_type} model has no head {head!r}",
            f"give {', '.join(map(repr, known))}, or a callable (hidden, head module)",
        )


class Names(NamedTuple):
    """One row of a mapping table: our module, the checkpoint's."""

    ours: str
    theirs: str


class Link(NamedTuple):
    """Where our parameter `ours` is in a checkpoint: `theirs`, or a part of it, or it is a part of ours.

    `transposed`: the checkpoint has (in, out). `part` (i, n): ours is the i-th of n equal parts of the (un-transposed) rows
    of `theirs` (GPT-2 keeps query, key and value in one). `row`: `theirs` is that row of ours (an expert of many).
    """

    ours: str
    theirs: str
    transposed: bool = False
    part: tuple[int, int] | None = None
    row: int | None = None

    def read(self, stored: Tensor) -> Tensor:
        """The view of the checkpoint's tensor that belongs into our parameter (or into its row)."""
        found = stored.t() if self.transposed else stored
        return found if self.part is None else found.chunk(self.part[1])[self.part[0]]


class Family(nn.Module, ABC):
    """A transformer that reads ragged batches. One file a family; what differs between its members is its config.

    `config`: a frozen dataclass with `model_type`, and `raw()`, the entries of config.json that it stands for. `carried`:
    what else config.json said (ids of special tokens, ...), which is written back when the model is saved.
    """

    ignored: ClassVar[tuple[str, ...]] = ()
    """Ends of names of tensors that old checkpoints hold and that are no parameters (masks, position ids)."""
    causal: ClassVar[bool] = True
    """Whether a token sees only what is before it."""
    drawn: tuple[str, ...] = ()
    """Modules that were not in the checkpoint but drawn beside it: no part of the base that an adapter is made for."""
    config: Any
    carried: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    @abstractmethod
    def of(cls, raw: Mapping[str, Any], stored: Collection[str] | None = None) -> Self:
        """The model that `raw` (config.json) describes; `stored`: the checkpoint's names, which tell its heads.

        Raises KeyError for a setting that is missing and ValueError for one that cannot be.
        """

    @abstractmethod
    def links(self) -> Iterable[Link]:
        """Where every parameter is in a checkpoint."""

    def raw_config(self) -> dict[str, Any]:
        """The config.json of this model, as transformers reads it."""
        return {**self.carried, **self.config.raw()}

    @abstractmethod
    def initialise(self, seed: int = 0) -> None:
        """Fresh weights, drawn from `seed` alone."""

    def tie(self) -> None:
        """Makes tied weights one tensor again, after storage was given to each. Nothing to do where none are tied."""

    @property
    def head_over(self) -> Literal["tokens", "sequences", "nothing"]:
        """What head="logits" gives a row for: each token, each sequence, or nothing (there is no head)."""
        return "tokens"

    def paged_storage(self, num_blocks: int, block_size: int, dtype: torch.dtype) -> PagedStorage | PackedStorage:
        """Memory for the keys and values of `num_blocks` blocks of `block_size` tokens; decoders only."""
        config = self.config
        return PagedStorage(
            config.num_layers, num_blocks, block_size, config.num_kv_heads, config.head_dim, dtype, self.device
        )

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def links_of(table: Iterable[tuple[str, str]], parameters: Collection[str]) -> Iterator[Link]:
    """The links of modules (ours, theirs) that have the same parameters in both."""
    theirs = dict(table)
    for name in parameters:
        module, _, parameter = name.rpartition(".")
        if module in theirs:
            yield Link(name, f"{theirs[module]}.{parameter}")
