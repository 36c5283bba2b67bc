"""InfoNCE over vectors: -log softmax of the positive's similarity among those of all passages, with false negatives left out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.training.parallel import Ranks


@dataclass(frozen=True)
class Keys:
    """A number for each text, equal for equal texts. queries: (Q,), positives: (Q,), negatives: (M,) int64.

    Passages are laid out part by part, a part's positives before its negatives; `parts`: (queries, negatives) of each.
    """

    queries: Tensor
    positives: Tensor
    negatives: Tensor
    parts: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, queries: Sequence[str], positives: Sequence[str], negatives: Sequence[str]) -> Keys:
        return cls(_keys(queries), _keys(positives), _keys(negatives), ((len(queries), len(negatives)),))

    @classmethod
    def joined(cls, several: Sequence[Keys]) -> Keys:
        """Of parts one behind the other."""
        return cls(
            torch.cat([one.queries for one in several]),
            torch.cat([one.positives for one in several]),
            torch.cat([one.negatives for one in several]),
            tuple(part for one in several for part in one.parts),
        )

    def gathered(self, ranks: Ranks) -> Keys:
        """Of all ranks, in their order."""
        if ranks.world_size == 1:
            return self
        queries, positives, negatives, parts = (
            torch.cat(ranks.gather(one))
            for one in (self.queries, self.positives, self.negatives, torch.tensor(self.parts, dtype=torch.int64))
        )
        return Keys(queries, positives, negatives, tuple((int(a), int(b)) for a, b in parts.tolist()))

    @property
    def passages(self) -> int:
        return len(self.positives) + len(self.negatives)

    def columns(self) -> tuple[Tensor, Tensor]:
        """Where the positive of each query stands among the passages (Q,), and the key of each passage (P,)."""
        positives, keys = [], []
        at, query, negative = 0, 0, 0
        for count, others in self.parts:
            positives.append(torch.arange(at, at + count))
            keys += [self.positives[query : query + count], self.negatives[negative : negative + others]]
            at, query, negative = at + count + others, query + count, negative + others
        return torch.cat(positives), torch.cat(keys)


@dataclass(frozen=True)
class InfoNce:
    """`temperature` divides cosines. `is_symmetric`: the mean with that of the queries for each positive. `dims`: prefixes of the
    vectors whose losses are averaged with that of the whole; none: the whole alone.

    A passage that is an answer too takes no part: one with the text of the query's positive, and the positive of another query
    with the same text. Source of `dims`: Kusupati et al. 2022, https://arxiv.org/abs/2205.13147, equation 1.
    """

    temperature: float = 0.05
    is_symmetric: bool = False
    dims: tuple[int, ...] = field(default=())

    def __call__(self, queries: Tensor, passages: Tensor, keys: Keys) -> tuple[Tensor, Tensor]:
        """queries: (Q, E), passages: (P, E) float32 as `keys` lays them out -> the loss of each query (Q,), and whether its
        positive is the nearest passage (Q,).

        With all cosines alike the loss is ln P. ValueError for `dims` that the vectors do not have.
        """
        width = queries.shape[1]
        if self.dims and not 0 < min(self.dims) <= max(self.dims) <= width:
            raise ValueError(f"dims {self.dims} are not within 1..{width}")
        own, left_out = false_negatives(keys)
        sizes = list(dict.fromkeys((*self.dims, width)))
        totals = torch.zeros(len(queries), device=queries.device)
        for size in sizes:
            near = F.normalize(queries[:, :size], dim=1) @ F.normalize(passages[:, :size], dim=1).t()  # (Q, P)
            scores = (near / self.temperature).masked_fill(left_out.to(near.device), -torch.inf)
            totals = totals + self._of(scores, own.to(near.device)) / len(sizes)
        return totals, scores.argmax(dim=1) == own.to(scores.device)

    def _of(self, scores: Tensor, own: Tensor) -> Tensor:
        """scores: (Q, P), own: (Q,) -> (Q,)."""
        one_way = F.cross_entropy(scores, own, reduction="none")
        if not self.is_symmetric:
            return one_way
        among = scores[:, own]  # (Q, Q): a row a query, a column a positive
        return (one_way + F.cross_entropy(among.t(), torch.arange(len(own), device=own.device), reduction="none")) / 2


def false_negatives(keys: Keys) -> tuple[Tensor, Tensor]:
    """(Q,) the column of each query's own positive; (Q, P) the columns that are no negatives of it, its own not among them."""
    own, passages = keys.columns()
    same_text = keys.positives[:, None] == passages[None, :]  # (Q, P)
    same_query = keys.queries[:, None] == keys.queries[None, :]  # (Q, Q)
    left_out = same_text
    left_out[:, own] |= same_query
    left_out[torch.arange(len(own)), own] = False
    return own, left_out


def _keys(texts: Sequence[str]) -> Tensor:
    """63 bits of the SHA-256 of each text, (n,) int64."""
    hashes = (hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest() for one in texts)
    return torch.tensor([int.from_bytes(one[:8], "little") >> 1 for one in hashes], dtype=torch.int64)
