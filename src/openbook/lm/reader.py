"""An extractive reader at work: of a question and a passage the span that answers, and how much it stands above "not here".

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import ModelUnavailable
from openbook.lm.families.bert_config import BertConfig
from openbook.lm.tokenizers.backend import open_backend
from openbook.lm.tokenizers.pair_layout import PairLayout

if TYPE_CHECKING:
    from openbook.lm.families.bert import Bert

MOST_TOKENS = 30
"""Of an answer."""
MAX_SEQ_LEN, STRIDE = 384, 128
_BATCH_TOKENS = 4_096
_LEAST_ROOM = 32


class Reading(NamedTuple):
    """`start:end`: code points of the passage, empty where it has no token. `margin`: the sum of the logits of the span's begin
    and end above that of "not here"; the higher the surer, comparable between passages.
    """

    start: int
    end: int
    margin: float


class Located(NamedTuple):
    """What a passage's tokens say. starts, ends: (T,) code points; begin, end: (T,) logits above that of "not here"."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    begin: NDArray[np.float32]
    end: NDArray[np.float32]

    def best(self, start: int = 0, end: int | None = None) -> Reading:
        """The best span of at most `MOST_TOKENS` tokens that lies in `start:end`; a margin of -inf where none does."""
        chosen = np.flatnonzero(
            (self.starts >= start) & (self.ends <= (self.ends.max(initial=0) if end is None else end))
        )
        if not len(chosen):
            return Reading(start, start, float("-inf"))
        first, last, score = best_span(self.begin[chosen], self.end[chosen])
        return Reading(int(self.starts[chosen[first]]), int(self.ends[chosen[last]]), score)


class _Part(NamedTuple):
    """A window: of passage `passage`, from its token `first` on, the rows `begins` to `len(ids)` - the layout's end."""

    passage: int
    first: int
    ids: list[int]
    segments: list[int]
    begins: int
    tokens: int


class Reader:
    """A BERT with a head for spans. Thread-safe; reads in one thread at a time. `model` is made ready for inference."""

    def __init__(self, model: Bert, directory: Path) -> None:
        if model.classifier is None or model.config.head != "ForQuestionAnswering":
            raise ModelUnavailable(f"{directory} has no head for spans", "use a checkpoint for question answering")
        self._model = model
        self._backend = open_backend(directory)
        self._layout = PairLayout.of(self._backend)
        self._size = min(MAX_SEQ_LEN, model.config.max_seq_len)
        self._lock = threading.Lock()

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """The best span of each passage (pair: question, passage)."""
        return [one.best() for one in self.locate(pairs)]

    def locate(self, pairs: Sequence[tuple[str, str]]) -> list[Located]:
        """What the tokens of each passage say; a question that is too long for the model is cut at its end."""
        asked = self._backend.encode_batch([question for question, _ in pairs], add_special_tokens=False)
        passages = self._backend.encode_batch([passage for _, passage in pairs], add_special_tokens=False)
        most = self._size - self._layout.specials - _LEAST_ROOM
        parts = [
            part
            for place, (question, passage) in enumerate(zip(asked, passages, strict=True))
            for part in self._parts(place, question.ids[:most], passage.ids)
        ]
        found = [np.full((len(one.ids), 2), -np.inf, np.float32) for one in passages]
        with self._lock:
            for chosen in _batches(sorted(parts, key=lambda one: len(one.ids))):
                for part, logits in zip(chosen, self._logits(chosen), strict=True):
                    rows = logits[part.begins : part.begins + part.tokens] - logits[0]
                    seen = found[part.passage][part.first : part.first + part.tokens]
                    np.maximum(seen, rows, out=seen)
        offsets = [np.array(one.offsets, np.int64).reshape(-1, 2) for one in passages]
        return [
            Located(place[:, 0], place[:, 1], logits[:, 0], logits[:, 1])
            for place, logits in zip(offsets, found, strict=True)
        ]

    def _parts(self, place: int, asked: list[int], ids: list[int]) -> Iterator[_Part]:
        room = self._size - self._layout.specials - len(asked)
        stride = min(STRIDE, room)
        for first in [*range(0, max(len(ids) - room, 0), stride), max(len(ids) - room, 0)]:
            seen = ids[first : first + room]
            if seen:
                whole, segments = self._layout.join(asked, seen)
                yield _Part(place, first, whole, segments, len(whole) - len(self._layout.end) - len(seen), len(seen))

    def _logits(self, parts: Sequence[_Part]) -> list[NDArray[np.float32]]:
        """(T, 2) of each window."""
        import torch

        from openbook.lm.nn.batch import Batch

        lengths = [len(one.ids) for one in parts]
        ids = torch.tensor([number for one in parts for number in one.ids])
        segments = torch.tensor([number for one in parts for number in one.segments])
        with torch.inference_mode():
            logits = self._model(ids, Batch.of(lengths, causal=False), segments=segments, head="logits")
        ends = list(accumulate(lengths))[:-1]
        return np.split(logits.float().numpy(), ends)


def best_span(begin: NDArray[np.float32], end: NDArray[np.float32], most: int = MOST_TOKENS) -> tuple[int, int, float]:
    """begin, end: (T,), T > 0 -> the first and the last token of the span with the highest sum, and the sum."""
    best = (0, 0, float("-inf"))
    for length in range(min(most, len(begin))):
        sums = begin[: len(begin) - length] + end[length:]
        place = int(sums.argmax())
        if sums[place] > best[2]:
            best = (place, place + length, float(sums[place]))
    return best


def _batches(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Neighbours of together at most `_BATCH_TOKENS` tokens, or one."""
    held: list[_Part] = []
    tokens = 0
    for part in parts:
        if held and tokens + len(part.ids) > _BATCH_TOKENS:
            yield held
            held, tokens = [], 0
        held.append(part)
        tokens += len(part.ids)
    if held:
        yield held


def open_reader(base: Path, adapter: Path | None = None, precision: str = "float32") -> Reader:
    """The reader in `base`, or what `adapter` makes of the encoder in `base`. ModelUnavailable for what does not fit."""
    from openbook.lm.adapters.files import load_adapter
    from openbook.lm.adapters.merge import merge
    from openbook.lm.heads import load_with_head
    from openbook.lm.quantization.prepare import prepare

    BertConfig.read(base)
    model, fresh = load_with_head(base, "ForQuestionAnswering")
    if adapter is not None:
        merge(model, load_adapter(model, adapter))
    elif fresh:
        raise ModelUnavailable(f"{base} has no head for spans", "name its adapter too")
    return Reader(prepare(model, precision), base)  # type: ignore[arg-type]
