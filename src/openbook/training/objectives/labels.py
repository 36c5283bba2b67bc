"""Classification of a text, or of a pair of texts: the cross-entropy of its label, given the pooled first token."""

from __future__ import annotations

from torch.nn import functional as F

from openbook.lm.families.base import Family
from openbook.training.loss import LossSum
from openbook.training.sources.labelled import Labelled


class Labels:
    """Sums nats over sequences. `accuracy`: the share whose label is the likeliest."""

    def weight(self, micro: Labelled) -> float:
        return float(len(micro.lengths))

    def loss(self, model: Family, micro: Labelled) -> LossSum:
        logits = model(micro.ids, micro.batch(), segments=micro.segments, head="sentence").float()  # (S, labels)
        right = float((logits.detach().argmax(dim=1) == micro.labels).sum())
        total = F.cross_entropy(logits, micro.labels, reduction="sum")
        return LossSum(total, self.weight(micro), {"accuracy": (right, self.weight(micro))})
