"""Span corruption: the cross-entropy of what a decoder writes, given the spoiled text and what it has written before."""

from __future__ import annotations

from typing import cast

from openbook.lm.families.base import Family
from openbook.lm.families.t5 import T5
from openbook.training.loss import LossSum
from openbook.training.objectives.guesses import Guesses
from openbook.training.sources.spans import Spoiled


class SpanCorruption:
    """Sums nats over written tokens, sentinels too. "accuracy": of an evaluation, tokens that are the likeliest.

    Source: Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4.
    """

    def weight(self, micro: Spoiled) -> float:
        return micro.weight

    def loss(self, model: Family, micro: Spoiled) -> LossSum:
        batch, head = micro.target_batch(), Guesses(micro.targets)
        shifted = micro.targets.roll(1)  # the decoder reads its start token and all targets but the last
        shifted[batch.starts[:-1]] = cast(T5, model).config.start_id
        total = model(micro.ids, micro.batch(), decoder_input_ids=shifted, decoder_batch=batch, head=head)
        return LossSum(total, micro.weight, head.metrics())
