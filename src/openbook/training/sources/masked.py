"""Masked tokens: which of a text are hidden, and what stands in their place; drawn anew each epoch.

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.1; whole words: their later code,
https://github.com/google-research/bert. We differ in that a random token is never a special one.
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
from openbook.lm.tokenizers.word_starts import word_starts
from openbook.training.recipe_parts import MaskedPart
from openbook.training.sources.pieces import Piece, Pieces


@dataclass(frozen=True)
class MaskedTokens:
    """Sequences for an encoder, end to end. ids: (N,) int64, spoiled; rows: (M,) the places that are hidden, targets: (M,) what
    stood there.
    """

    ids: Tensor
    lengths: list[int]
    rows: Tensor
    targets: Tensor

    @property
    def weight(self) -> float:
        """Of its loss in that of the step: hidden tokens."""
        return float(len(self.targets))

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)

    def shown(self) -> tuple[list[int], list[bool]]:
        """The first sequence as it is read, and whether each token is restored."""
        length = self.lengths[0]
        is_learned = torch.zeros(length, dtype=torch.bool)
        is_learned[self.rows[self.rows < length]] = True
        return self.ids[:length].tolist(), is_learned.tolist()


class Masking:
    """How tokens are hidden. Special tokens never are, nor what the data says is not to be learned."""

    def __init__(self, tokenizer: Tokenizer, part: MaskedPart) -> None:
        mask = tokenizer.special.get("mask_token")
        if mask is None:
            raise UsageError(
                f"{tokenizer.source} has no mask token",
                "use the checkpoint of a masked LM, or name its token in tokenizer_config.json (mask_token)",
            )
        self.mask_id, self.part = tokenizer.id_of(mask), part
        known = np.zeros(tokenizer.vocab_size, np.bool_)
        known[list(tokenizer.backend.get_vocab().values())] = True
        known[list(tokenizer.special_ids)] = False
        self.is_ordinary = known
        self._ordinary = np.flatnonzero(known)
        self._begins = word_starts(tokenizer) if part.whole_words else None
        self.before, self.behind = (np.array(one, np.int64) for one in ends_of(tokenizer))

    def taken(self, length: int) -> int:
        """Tokens of a row that a text of `length` takes."""
        return length + len(self.before) + len(self.behind)

    def hidden(self, piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """ids (T,) as they are read, places (M,) of what is hidden, targets (M,), with what stands around a text.

        `share` of the ordinary tokens, rounded up or down by chance, so that short texts have their share too.
        """
        free = np.flatnonzero(self.is_ordinary[piece.ids] & piece.learned)
        count = int(len(free) * self.part.share + piece.draw.random())
        places = self._words(piece, free, count) if self._begins is not None else piece.draw.permutation(free)[:count]
        places = np.sort(places)
        read = piece.ids.copy()
        read[places] = self._instead(piece.ids[places], piece.draw)
        shifted = places + len(self.before)
        return np.concatenate([self.before, read, self.behind]), shifted, piece.ids[places]

    def _instead(self, ids: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
        """The mask for most, any token for some, for the rest what stood there."""
        kind, random = draw.random(len(ids)), draw.choice(self._ordinary, len(ids))
        masked, either = self.part.mask_share, self.part.mask_share + self.part.random_share
        return np.where(kind < masked, self.mask_id, np.where(kind < either, random, ids))

    def _words(self, piece: Piece, free: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Whole words in random order while they fit into `count`."""
        assert self._begins is not None
        word = np.cumsum(self._begins[piece.ids])[free]  # (F,) the word of each token
        words = np.split(free, np.flatnonzero(np.diff(word)) + 1) if len(free) else []
        chosen: list[NDArray[np.int64]] = []
        for at in piece.draw.permutation(len(words)):
            if len(words[at]) <= count:
                chosen.append(words[at])
                count -= len(words[at])
        return np.concatenate(chosen) if chosen else free[:0]


class Masked:
    """Steps of masked pieces."""

    def __init__(self, pieces: Pieces, masking: Masking) -> None:
        self._pieces, self._masking = pieces, masking

    def next_step(self) -> list[MaskedTokens]:
        return [masked(micro, self._masking) for micro in self._pieces.next_step()]

    def state(self) -> dict[str, Any]:
        return self._pieces.state()

    def resume(self, state: dict[str, Any]) -> None:
        self._pieces.resume(state)


def masked(pieces: Sequence[Piece], masking: Masking) -> MaskedTokens:
    """The pieces as one micro-batch, shorter ones first: neighbours of one length attend in one call."""
    parts = [masking.hidden(piece) for piece in sorted(pieces, key=lambda one: len(one.ids))]
    lengths = [len(ids) for ids, _, _ in parts]
    starts = np.cumsum([0, *lengths[:-1]])
    ids, targets = (np.concatenate([part[at] for part in parts]) for at in (0, 2))
    rows = np.concatenate([places + start for (_, places, _), start in zip(parts, starts, strict=True)])
    return MaskedTokens(torch.from_numpy(ids), lengths, torch.from_numpy(rows), torch.from_numpy(targets))
