"""What a request may bring along to change its logits before each token is chosen, e.g. a reward model that guides the answer."""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from torch import Tensor

from openbook.serving.engine.sequence import Sequence

_log = logging.getLogger("openbook")


class LogitsProcessor(Protocol):
    """One object may serve many requests of one engine: those of a step come to it together, on the engine's thread.

    What it does follows from the tokens of a sequence alone. Then seeds hold, and neither what runs beside a request nor forks,
    preemption and speculation change its answer.
    """

    @property
    def max_seq_len(self) -> int | None:
        """The most tokens of a sequence, prompt and answer, that it can deal with. An answer that reaches it ends there."""
        ...

    def process(self, logits: Tensor, sequences: list[Sequence]) -> None:
        """logits: (S, V) float32, changed in place, after penalties and grammars and before the temperature. -inf forbids a
        token. An error ends these requests, and no others.
        """
        ...

    def forget(self, sequence: Sequence) -> None:
        """The sequence has ended: what is kept for it goes."""
        ...


@torch.inference_mode()
def process(logits: Tensor, sequences: list[Sequence]) -> bool:
    """Has the processors change their rows of logits (S, V), each all of its rows at once; whether there were any."""
    groups: dict[int, list[int]] = {}
    for place, sequence in enumerate(sequences):
        if sequence.processor is not None:
            groups.setdefault(id(sequence.processor), []).append(place)
    for places in groups.values():
        own = [sequences[place] for place in places]
        processor = own[0].processor
        assert processor is not None, "only those that have one were gathered"
        is_all = len(places) == len(logits)
        rows = logits if is_all else logits[places]
        try:
            processor.process(rows, own)
        except Exception:  # whatever it is, it is these requests' alone: without numbers no token is drawn
            _log.exception("a logits processor failed (%s): its requests end", type(processor).__name__)
            rows.fill_(torch.nan)
        if not is_all:
            logits[places] = rows
    return bool(groups)
