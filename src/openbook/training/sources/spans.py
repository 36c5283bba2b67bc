"""Span corruption: spans of a text are each replaced by a sentinel, and the decoder writes what stood there.

    input   The cat <X> on the <Y> </s>
    target  <X> sat <Y> mat <Z> </s>

The last sentinel says that no span is left. Source: Raffel et al. 2020, https://arxiv.org/abs/1910.10683, sections 3.1.4 and
3.3.4; how spans are drawn: `random_spans_noise_mask` of their code, https://github.com/google-research/text-to-text-transfer-transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.core.errors import UsageError
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.added import ends_of
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.recipe_parts import SpansPart
from openbook.training.sources.pieces import Piece, Pieces
from openbook.training.special_tokens import SENTINELS, sentinel


@dataclass(frozen=True)
class Spoiled:
    """What an encoder reads, and what a decoder writes, each end to end. ids: (N,) int64; targets: (M,) int64."""

    ids: Tensor
    lengths: list[int]
    targets: Tensor
    target_lengths: list[int]

    @property
    def weight(self) -> float:
        """Of its loss in that of the step: tokens that are written."""
        return float(len(self.targets))

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)

    def target_batch(self) -> Batch:
        return Batch.of(self.target_lengths, device=self.ids.device)

    def shown(self) -> tuple[list[int], list[bool]]:
        """What is read of the first text, and what is written, which is learned."""
        read, written = self.lengths[0], self.target_lengths[0]
        ids = [*self.ids[:read].tolist(), *self.targets[:written].tolist()]
        return ids, [False] * read + [True] * written


class Spoiling:
    """How spans are drawn and replaced."""

    def __init__(self, tokenizer: Tokenizer, part: SpansPart) -> None:
        self.part, self._source = part, tokenizer.source
        found = [tokenizer.backend.token_to_id(sentinel(number)) for number in range(SENTINELS)]
        self.sentinels = [number for number in found if number is not None]
        if len(self.sentinels) < 2:
            raise UsageError(
                f"{tokenizer.source} has no sentinels ({sentinel(0)}, {sentinel(1)}, ...)",
                "use a T5's tokenizer, or a fresh model (model.size), whose tokenizer gets them",
            )
        self.before, self.behind = (np.array(one, np.int64) for one in ends_of(tokenizer))

    def counts(self, length: int) -> tuple[int, int]:
        """Of a text of `length` tokens: those in spans, and spans. One token at least is left, and one is taken."""
        noise = min(max(round(length * self.part.share), 1), length - 1)
        return noise, max(min(round(noise / self.part.mean_length), noise, length - noise), 1)

    def taken(self, length: int) -> int:
        """Tokens that the encoder reads of a text of `length`; texts of one token have nothing to spoil."""
        noise, spans = self.counts(max(length, 2))
        return length - noise + spans + len(self.before) + len(self.behind)

    def largest(self, max_seq_len: int) -> int:
        """The longest text of which the encoder reads at most `max_seq_len` tokens, its sentinels counted."""
        length = max_seq_len
        while self.taken(length + 1) <= max_seq_len:
            length += 1
        while self.taken(length) > max_seq_len:
            length -= 1
        return length

    def spoil(self, piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What is read (T',) and what is written (M',). UsageError where there are fewer sentinels than spans."""
        noise, spans = self.counts(len(piece.ids))
        if spans >= len(self.sentinels):
            raise UsageError(
                f"a text of {len(piece.ids):,} tokens has {spans} spans, {self._source} has {len(self.sentinels)} sentinels",
                "raise spans.mean_length, or lower max_seq_len",
            )
        kept, hidden = (_parted(count, spans, piece.draw) for count in (len(piece.ids) - noise, noise))
        ends = np.cumsum(np.stack([kept, hidden], axis=1).reshape(-1))  # what is kept and what is hidden, in turns
        parts = np.split(piece.ids, ends[:-1])
        marks = np.array(self.sentinels[: spans + 1], np.int64)[:, None]
        read = [one for part, mark in zip(parts[::2], marks, strict=False) for one in (part, mark)]
        written = [one for part, mark in zip(parts[1::2], marks, strict=False) for one in (mark, part)]
        return (
            np.concatenate([self.before, *read, self.behind]),
            np.concatenate([*written, marks[spans], self.behind]),
        )


class Spans:
    """Steps of spoiled pieces."""

    def __init__(self, pieces: Pieces, spoiling: Spoiling) -> None:
        self._pieces, self._spoiling = pieces, spoiling

    def next_step(self) -> list[Spoiled]:
        return [spoiled(micro, self._spoiling) for micro in self._pieces.next_step()]

    def state(self) -> dict[str, Any]:
        return self._pieces.state()

    def resume(self, state: dict[str, Any]) -> None:
        self._pieces.resume(state)


def spoiled(pieces: Sequence[Piece], spoiling: Spoiling) -> Spoiled:
    """The pieces as one micro-batch, shorter ones first: neighbours of one length attend in one call."""
    ordered = sorted((piece for piece in pieces if len(piece.ids) > 1), key=lambda one: len(one.ids))
    parts = [spoiling.spoil(piece) for piece in ordered]
    read, written = ([part[at] for part in parts] for at in (0, 1))
    return Spoiled(
        torch.from_numpy(_joined(read)),
        [len(one) for one in read],
        torch.from_numpy(_joined(written)),
        [len(one) for one in written],
    )


def _parted(count: int, parts: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """`count` as a sum of `parts` numbers, each at least 1, every such sum as likely as any other."""
    cuts = np.sort(draw.permutation(count - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [count]]))


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
