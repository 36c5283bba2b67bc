"""An embedder: each query near its positive and far from every other passage of the whole step (InfoNCE with GradCache).

Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, equation 4; Karpukhin et al. 2020,
https://arxiv.org/abs/2004.04906, section 3.2 (passages of other queries as negatives). In reading order: what a forward pass
reads, the objective, the vectors of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch
from openbook.lm.sentence import Pooling
from openbook.training.loss import LossSum
from openbook.training.objectives.info_nce import InfoNce, Keys
from openbook.training.parallel import Ranks


@dataclass(frozen=True)
class Cached:
    """What GradCache keeps of a forward pass without gradients. gradients: (T, E), of the step's loss by the vectors of this
    micro-batch. total: its share of that loss. metrics: as of `LossSum`. random: states of the generators before the pass.
    """

    gradients: Tensor
    total: Tensor
    metrics: dict[str, tuple[float, float]]
    random: list[Tensor]


@dataclass(frozen=True)
class QueryGroups:
    """Texts of several groups, end to end. ids: (N,) int64; lengths: of each of the T texts, sorted, so that equal ones attend
    together; order: (T,), where each text stands among them: queries, then positives, then negatives. keys: what tells them
    apart.
    """

    ids: Tensor
    lengths: list[int]
    order: Tensor
    keys: Keys
    cached: Cached | None = None

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], keys: Keys) -> QueryGroups:
        """texts: the ids of each, in the order of `keys`."""
        places = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        order = torch.empty(len(texts), dtype=torch.int64)
        order[torch.tensor(places)] = torch.arange(len(texts))
        ids = torch.tensor([number for place in places for number in texts[place]])
        return cls(ids, [len(texts[place]) for place in places], order, keys)

    @property
    def queries(self) -> int:
        return len(self.keys.queries)

    def shown(self) -> tuple[list[int], list[bool]]:
        """The first query and its positive; no token of them is learned, but how near they are."""
        ids: list[int] = []
        for place in (int(self.order[0]), int(self.order[self.queries])):
            begin = sum(self.lengths[:place])
            ids += self.ids[begin : begin + self.lengths[place]].tolist()
        return ids, [False] * len(ids)

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)


class Contrastive:
    """A unit of weight a query. With a micro-batch alone, its own passages are the negatives; `prepare` makes those of all
    micro-batches and ranks so, whatever the split: the gradient is that of the whole step at once.

    Source of `prepare`: Gao et al. 2021, https://arxiv.org/abs/2101.06983, section 3.
    """

    def __init__(self, loss: InfoNce, pooling: Pooling = "mean") -> None:
        self._loss, self._pooling = loss, pooling

    def weight(self, micro: QueryGroups) -> float:
        return float(micro.queries)

    def prepare(self, model: Family, micros: Sequence[QueryGroups], ranks: Ranks) -> list[QueryGroups]:
        """The micro-batches of a step with what the others are to them. One of one process needs nothing."""
        if len(micros) == 1 and ranks.world_size == 1:
            return list(micros)
        random = []
        vectors = []
        for one in micros:
            random.append(_generators(model))
            with torch.no_grad():
                vectors.append(self.vectors(model, one))
        return self._cached(micros, vectors, random, ranks)

    def loss(self, model: Family, micro: QueryGroups) -> LossSum:
        if micro.cached is None:
            queries, passages = torch.split(self.vectors(model, micro), [micro.queries, micro.keys.passages])
            totals, right = self._loss(queries, passages, micro.keys)
            return LossSum(totals.sum(), self.weight(micro), {"accuracy": (float(right.sum()), self.weight(micro))})
        cached = micro.cached
        with _replayed(model, cached.random):
            vectors = self.vectors(model, micro)
        through = (
            vectors * cached.gradients
        ).sum()  # has the gradient of the step's loss, and a value without a meaning
        return LossSum(through - through.detach() + cached.total, self.weight(micro), cached.metrics)

    def vectors(self, model: Family, micro: QueryGroups) -> Tensor:
        """(T, E) float32 in the order of the groups' texts; their length is the loss's business."""
        named: dict[str, Any] = {"head": "hidden"}
        hidden = model(micro.ids, micro.batch(), **named).float()  # (N, E)
        return pooled(hidden, micro.lengths, self._pooling)[micro.order]

    def _cached(
        self, micros: Sequence[QueryGroups], vectors: Sequence[Tensor], random: Sequence[list[Tensor]], ranks: Ranks
    ) -> list[QueryGroups]:
        """The loss of the whole step by the vectors of all, and this rank's part of its gradient."""
        mine = [torch.split(own, [one.queries, one.keys.passages]) for one, own in zip(micros, vectors, strict=True)]
        own_queries, own_passages = (torch.cat(parts) for parts in zip(*mine, strict=True))
        with torch.enable_grad():
            queries, first = _among(own_queries.requires_grad_(), ranks)
            passages, _ = _among(own_passages.requires_grad_(), ranks)
            totals, right = self._loss(queries, passages, Keys.joined([one.keys for one in micros]).gathered(ranks))
            totals.sum().backward()  # type: ignore[no-untyped-call]
        assert own_queries.grad is not None and own_passages.grad is not None
        found = []
        for one, by_query, by_passage, place, state in zip(
            micros,
            torch.split(own_queries.grad, [one.queries for one in micros]),
            torch.split(own_passages.grad, [one.keys.passages for one in micros]),
            _starts(micros, first),
            random,
            strict=True,
        ):
            part = slice(place, place + one.queries)
            metrics = {"accuracy": (float(right[part].sum()), float(one.queries))}
            total = totals.detach()[part].sum()
            found.append(replace(one, cached=Cached(torch.cat([by_query, by_passage]), total, metrics, state)))
        return found


def pooled(hidden: Tensor, lengths: Sequence[int], pooling: Pooling) -> Tensor:
    """hidden: (N, E) of T texts end to end -> (T, E), as the library's embedder pools."""
    parts = torch.split(hidden, list(lengths))
    match pooling:
        case "mean":
            return torch.stack([one.mean(dim=0) for one in parts])
        case "mean_sqrt_len":
            return torch.stack([one.sum(dim=0) / len(one) ** 0.5 for one in parts])
        case "max":
            return torch.stack([one.amax(dim=0) for one in parts])
        case "cls":
            return torch.stack([one[0] for one in parts])


def _among(own: Tensor, ranks: Ranks) -> tuple[Tensor, int]:
    """`own` (n, E) among those of all ranks, of which only its own rows have a gradient; and where they begin."""
    others = ranks.gather(own.detach())
    first = sum(map(len, others[: ranks.rank]))
    return torch.cat([*others[: ranks.rank], own, *others[ranks.rank + 1 :]]), first


def _starts(micros: Sequence[QueryGroups], first: int) -> Iterator[int]:
    for one in micros:
        yield first
        first += one.queries


def _generators(model: Family) -> list[Tensor]:
    """The states of what dropout draws from, on the CPU and on the model's device."""
    own = [torch.cuda.get_rng_state(model.device)] if model.device.type == "cuda" else []
    return [torch.get_rng_state(), *own]


@contextmanager
def _replayed(model: Family, states: Sequence[Tensor]) -> Iterator[None]:
    """Draws inside are those of then; outside nothing has been drawn."""
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], model.device)
        yield
