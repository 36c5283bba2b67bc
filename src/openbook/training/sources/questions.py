"""Steps of questions about passages: the span that answers, or none, with unanswerable ones that are built on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openbook.core.errors import BadData
from openbook.lm.nn.batch import Batch
from openbook.lm.tokenizers.pair_layout import PairLayout
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.squad import Answer, Question, Squad, likeliest_place
from openbook.training.data.unanswerable import changed_question, kept_sentences
from openbook.training.sources.drawn import DrawnSource

_TRIES = 8
"""Passages that are drawn before one is found that does not say the answer."""
Kind = str


@dataclass(frozen=True)
class Asked:
    """Pairs of a question and a window of a passage, end to end, the longest first. ids, segments: (N,). rows: (M,) where a span
    may begin and end, sequences: (M,) whose they are. begin, end: (S,) rows of ids.
    """

    ids: Tensor
    segments: Tensor
    lengths: list[int]
    rows: Tensor
    sequences: Tensor
    begin: Tensor
    end: Tensor

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)


class Window(NamedTuple):
    """A question and a part of a passage: ids, the segments, where the passage begins, and the span within (0, 0 for none)."""

    ids: list[int]
    segments: list[int]
    first: int
    last: int
    begin: int
    end: int


class Passage(NamedTuple):
    """ids (T,) of a passage, and where each token begins and ends in its text."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    def span(self, answer: Answer) -> tuple[int, int] | None:
        """The first and the last token that overlap with the answer."""
        first = int(np.searchsorted(self.ends, answer.start, side="right"))
        last = int(np.searchsorted(self.starts, answer.end, side="left")) - 1
        return (first, last) if first <= last < len(self.ids) else None


class Shares(NamedTuple):
    """How often a question is shown without its answer, by kind; what is left is answerable."""

    neighbour: float = 0.0
    other: float = 0.0
    without: float = 0.0
    changed: float = 0.0


class Questions(DrawnSource[Window, Asked]):
    """`batch_size` questions a step over all ranks. The same seed shows the same, whatever the micro-batches and the ranks.

    Of a passage that is longer than `max_seq_len` leaves room for, the window is drawn: for an answerable question among those
    that hold the whole answer. Questions that leave no room are left out and counted.
    """

    def __init__(
        self,
        data: Squad,
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        micro_batch_size: int,
        max_seq_len: int,
        seed: int,
        shares: Shares | None = None,
        stride: int = 128,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._data, self._tokenizer, self._layout = data, tokenizer, PairLayout.of(tokenizer.backend)
        self._size, self._stride, self._seed, self._shares = max_seq_len, stride, seed, shares or Shares()
        self._passages = passages_of(data.passages, tokenizer)
        self._asked = tokenizer.encode_batch([one.text for one in data.questions], add_special_tokens=False)
        self.kept = [place for place in range(len(data.questions)) if self._fits(place)]
        if not self.kept:
            raise BadData(f"no question leaves room for a passage in {max_seq_len} tokens", "raise max_seq_len")
        self._of_article: dict[str, list[int]] = {}
        for place, title in enumerate(data.articles):
            self._of_article.setdefault(title, []).append(place)
        super().__init__(
            lambda epoch, number: self._drawn(epoch, self.kept[number]),
            len(self.kept),
            lambda windows: asked_of(windows, self._layout),
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def __len__(self) -> int:
        return len(self.kept)

    def all_windows(self, places: Sequence[int]) -> Iterator[Window]:
        """Every window of these questions as they are, in order."""
        for place in places:
            question = self._data.questions[place]
            passage = self._passages[question.passage]
            span = self._span(question, passage)
            for first in self._firsts(len(passage.ids), len(self._asked[place])):
                yield self._window(self._asked[place], passage, first, span)

    def micros(self, places: Sequence[int], size: int) -> Iterator[Asked]:
        """All their windows, `size` at a time."""
        held: list[Window] = []
        for window in self.all_windows(places):
            held.append(window)
            if len(held) == size:
                yield asked_of(held, self._layout)
                held = []
        if held:
            yield asked_of(held, self._layout)

    def _drawn(self, epoch: int, place: int) -> Window:
        random = Random(f"{self._seed} {epoch} {place}")
        question, asked = self._data.questions[place], self._asked[place]
        kind = random.choices([*Shares._fields, "answerable"], [*self._shares, 1 - sum(self._shares)])[0]
        if not question.answers or kind == "answerable":
            passage = self._passages[question.passage]
            return self._one(asked, passage, self._span(question, passage), random)
        built = self._built(kind, question, asked, random)
        if built is None:  # nothing of this kind can be made: the passage next to it nearly always can
            built = self._built("neighbour", question, asked, random) or self._built("other", question, asked, random)
        if built is None:
            passage = self._passages[question.passage]
            return self._one(asked, passage, self._span(question, passage), random)
        return self._one(*built, None, random)

    def _built(
        self, kind: Kind, question: Question, asked: list[int], random: Random
    ) -> tuple[list[int], Passage] | None:
        """A question and a passage that does not answer it."""
        passages, own = self._data.passages, question.passage
        if kind == "without":
            kept = kept_sentences(passages[own], {one.text for one in question.answers})
            return None if kept is None else (asked, _parts(self._passages[own], kept))
        family = self._of_article[self._data.articles[own]]
        if kind == "changed":
            others = [passages[one] for one in random.sample(family, min(4, len(family)))]
            text = changed_question(question.text, passages[own], others, random)
            if text is None:
                return None
            ids = self._tokenizer.encode(text, add_special_tokens=False)
            return (ids, self._passages[own]) if self._room(len(ids)) > self._stride else None
        chosen = self._without_answer(range(len(passages)) if kind == "other" else family, question, random)
        return None if chosen is None else (asked, self._passages[chosen])

    def _without_answer(self, family: Sequence[int], question: Question, random: Random) -> int | None:
        """A passage of `family` without the answer; half of the time the one of three that says most of the question."""
        wanted = [one.text.lower() for one in question.answers]
        found: list[int] = []
        most = 3 if random.random() < 0.5 else 1
        for _ in range(_TRIES):
            one = family[random.randrange(len(family))]
            text = self._data.passages[one].lower()
            if one != question.passage and one not in found and not any(answer in text for answer in wanted):
                found.append(one)
                if len(found) == most:
                    break
        words = {word for word in question.text.lower().split() if len(word) > 3}
        return max(found, key=lambda one: sum(word in self._data.passages[one].lower() for word in words), default=None)

    def _one(self, asked: list[int], passage: Passage, span: tuple[int, int] | None, random: Random) -> Window:
        firsts = self._firsts(len(passage.ids), len(asked))
        if span is not None:
            room = self._room(len(asked))
            firsts = [one for one in firsts if one <= span[0] and span[1] < one + room] or firsts
        return self._window(asked, passage, random.choice(firsts), span)

    def _window(self, asked: list[int], passage: Passage, first: int, span: tuple[int, int] | None) -> Window:
        seen = passage.ids[first : first + self._room(len(asked))].tolist()
        ids, segments = self._layout.join(asked, seen)
        begins = len(ids) - len(seen) - len(self._layout.end)
        if span is None or span[0] < first or span[1] >= first + len(seen):
            return Window(ids, segments, begins, begins + len(seen), 0, 0)
        shift = begins - first
        return Window(ids, segments, begins, begins + len(seen), span[0] + shift, span[1] + shift)

    def _firsts(self, length: int, asked: int) -> list[int]:
        """Where windows begin: `stride` tokens apart, the last one at the end of the passage."""
        room = self._room(asked)
        return [*range(0, max(length - room, 0), self._stride), max(length - room, 0)]

    def _room(self, asked: int) -> int:
        return self._size - self._layout.specials - asked

    def _fits(self, place: int) -> bool:
        return (
            self._room(len(self._asked[place])) > self._stride
            and len(self._passages[self._data.questions[place].passage].ids) > 0
        )

    def _span(self, question: Question, passage: Passage) -> tuple[int, int] | None:
        if not question.answers:
            return None
        text = self._data.passages[question.passage]
        return passage.span(likeliest_place(text, question.answers[0], question.text))


def passages_of(texts: Sequence[str], tokenizer: Tokenizer) -> list[Passage]:
    found = []
    for one in tokenizer.backend.encode_batch(list(texts), add_special_tokens=False):
        offsets = np.array(one.offsets, np.int32).reshape(-1, 2)
        found.append(Passage(np.array(one.ids, np.int32), offsets[:, 0].copy(), offsets[:, 1].copy()))
    return found


def _parts(passage: Passage, kept: Sequence[tuple[int, int]]) -> Passage:
    """The tokens that begin in one of the spans."""
    inside = np.zeros(len(passage.ids), bool)
    for start, end in kept:
        inside |= (passage.starts >= start) & (passage.starts < end)
    return Passage(passage.ids[inside], passage.starts[inside], passage.ends[inside])


def asked_of(windows: Sequence[Window], layout: PairLayout) -> Asked:
    """One micro-batch; the windows are sorted, so that those of equal length are neighbours."""
    ordered = sorted(windows, key=lambda one: -len(one.ids))
    lengths = [len(one.ids) for one in ordered]
    starts = [0, *accumulate(lengths)][:-1]
    rows = [
        row
        for start, one in zip(starts, ordered, strict=True)
        for row in (start, *range(start + one.first, start + one.last))
    ]
    counts = [1 + one.last - one.first for one in ordered]
    return Asked(
        torch.tensor([number for one in ordered for number in one.ids]),
        torch.tensor([number for one in ordered for number in one.segments]),
        lengths,
        torch.tensor(rows),
        torch.arange(len(ordered)).repeat_interleave(torch.tensor(counts)),
        torch.tensor([start + one.begin for start, one in zip(starts, ordered, strict=True)]),
        torch.tensor([start + one.end for start, one in zip(starts, ordered, strict=True)]),
    )
