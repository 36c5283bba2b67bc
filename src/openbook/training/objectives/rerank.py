"""A cross-encoder over groups of (query, passage) pairs: each pair on its own, or the positive against its negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.encoder import Encoded, EncoderTokenizer
from openbook.training.data.groups import Group
from openbook.training.loss import LossSum

RerankLoss = Literal["listwise", "pointwise"]


@dataclass(frozen=True)
class PairGroups:
    """Pairs of several groups, end to end. ids, segments: (N,) int64. lengths: tokens of each of the S pairs, sorted, so that
    equal ones attend together; order: (S,), where each pair of the groups, group by group, stands among them. sizes: pairs of
    each group, its positive first.
    """

    ids: Tensor
    segments: Tensor
    lengths: list[int]
    order: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, groups: Sequence[Group], tokenizer: EncoderTokenizer) -> PairGroups:
        pairs = [(one.query, text) for one in groups for text in (one.positive, *one.negatives)]
        return cls.joined(tokenizer.encode_pairs(pairs), [1 + len(one.negatives) for one in groups])

    @classmethod
    def joined(cls, encoded: Sequence[Encoded], sizes: list[int]) -> PairGroups:
        """The pairs of all groups, one group after the other."""
        places = sorted(range(len(encoded)), key=lambda place: len(encoded[place].ids))
        order = torch.empty(len(encoded), dtype=torch.int64)
        order[torch.tensor(places)] = torch.arange(len(encoded))
        ids = torch.tensor([number for place in places for number in encoded[place].ids])
        segments = torch.tensor([number for place in places for number in encoded[place].segments])
        return cls(ids, segments, [len(encoded[place].ids) for place in places], order, sizes)

    def shown(self) -> tuple[list[int], list[bool]]:
        """The first positive pair; no token of it is learned, but what the pair is."""
        place = int(self.order[0])
        begin = sum(self.lengths[:place])
        ids = self.ids[begin : begin + self.lengths[place]].tolist()
        return ids, [False] * len(ids)

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)


class Rerank:
    """`listwise`: -log softmax of the positive's score among those of its group, a unit of weight a group; with all scores
    alike it is ln of a group's size. `pointwise`: binary cross-entropy, a unit of weight a pair; with all scores 0 it is ln 2.

    Sources: Nogueira & Cho 2019, https://arxiv.org/abs/1901.04085, equation 1 (pointwise); Gao, Dai & Callan 2021,
    https://arxiv.org/abs/2101.08751, equation 3 (listwise, "localized contrastive estimation").
    """

    def __init__(self, loss: RerankLoss = "listwise") -> None:
        self._loss = loss

    def weight(self, micro: PairGroups) -> float:
        return float(len(micro.sizes) if self._loss == "listwise" else len(micro.lengths))

    def loss(self, model: Family, micro: PairGroups) -> LossSum:
        """`model`: an encoder with a classifier of one label over the first token."""
        named: dict[str, Any] = {"segments": micro.segments, "head": "sentence"}
        scores = model(micro.ids, micro.batch(), **named).float()[:, 0][micro.order]  # (S,) group by group
        rows = torch.split(scores, micro.sizes)
        first = float(sum(bool((row[0] > row[1:]).all()) for row in rows))
        metrics = {"accuracy": (first, float(len(rows)))}
        one_of = _listwise if self._loss == "listwise" else _pointwise
        return LossSum(one_of(rows), self.weight(micro), metrics)


def _listwise(rows: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.logsumexp(row, 0) - row[0] for row in rows]).sum()


def _pointwise(rows: Sequence[Tensor]) -> Tensor:
    entropy = partial(F.binary_cross_entropy_with_logits, reduction="sum")
    return torch.stack([entropy(row, torch.eye(len(row))[0].to(row)) for row in rows]).sum()
