"""Sequences that get a score: two answers of a pair at their ends, or solutions at the end of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.lm.nn.batch import Batch


@dataclass(frozen=True)
class Scored:
    """S sequences end to end, the longest first, each read whole. ids: (N,); segments: (N,) for an encoder, 0 elsewhere. rows:
    (R,) tokens at which a score is taken, in the order of the samples; places: (S,) the place of each sample among the sequences.
    is_causal: of a decoder.
    """

    ids: Tensor
    segments: Tensor
    lengths: list[int]
    rows: Tensor
    places: Tensor
    is_causal: bool

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=self.is_causal, device=self.ids.device)

    def shown_at(self, sample: int) -> tuple[list[int], list[bool]]:
        """The ids of a sample, and of each whether a score is taken there."""
        place = int(self.places[sample])
        begin = sum(self.lengths[:place])
        end = begin + self.lengths[place]
        is_scored = torch.zeros(len(self.ids), dtype=torch.bool)
        is_scored[self.rows] = True
        return self.ids[begin:end].tolist(), is_scored[begin:end].tolist()


@dataclass(frozen=True)
class ScoredPairs(Scored):
    """P pairs: samples 0 to P - 1 are the better ones, P to 2 P - 1 the worse. margins: (P,)."""

    margins: Tensor

    def shown(self) -> tuple[list[int], list[bool]]:
        return self.shown_at(0)

    def shown_beside(self) -> dict[str, tuple[list[int], list[bool]]]:
        pairs = len(self.margins)
        return {"the better answer": self.shown_at(0), "the worse answer": self.shown_at(pairs)}


@dataclass(frozen=True)
class ScoredSteps(Scored):
    """Solutions; labels: (R,) of each step, from 0 to 1."""

    labels: Tensor

    def shown(self) -> tuple[list[int], list[bool]]:
        return self.shown_at(0)


def laid(
    samples: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]],
    *,
    is_causal: bool,
    is_each_step: bool = False,
    second: int = 0,
) -> Scored:
    """samples: ids (T,) and what is learned of them (T,). Of a decoder a score is taken at the last token, or (`is_each_step`) at
    each that is learned. Of an encoder at the first; what is learned is its segment `second`.
    """
    order = sorted(range(len(samples)), key=lambda place: -len(samples[place][0]))
    lengths = [len(samples[place][0]) for place in order]
    begins = np.zeros(len(samples), np.int64)
    begins[order] = np.cumsum([0, *lengths[:-1]])
    ids = np.concatenate([samples[place][0] for place in order])
    marks = np.concatenate([samples[place][1] for place in order])
    if is_each_step:
        rows = np.concatenate(
            [begin + np.flatnonzero(marks) for begin, (_, marks) in zip(begins, samples, strict=True)]
        )
    else:
        rows = begins + np.array([len(one) - 1 for one, _ in samples]) if is_causal else begins
    places = np.empty(len(samples), np.int64)
    places[order] = np.arange(len(samples))
    segments = second * marks.astype(np.int64)
    tensors = [torch.from_numpy(one) for one in (ids, segments, rows, places)]
    return Scored(tensors[0], tensors[1], lengths, tensors[2], tensors[3], is_causal)
