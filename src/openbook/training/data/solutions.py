"""Solutions with a label at the end of each step, as samples: what is learned of one is the token that ends a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress, silent
from openbook.lm.reward import Prompts, step_ids
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.reading import DataFile, Placed, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.row import Solution
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Sample, Shards
from openbook.training.data.tokenised import MadeOf, ReadSettings, key_of, opened_or_made

SHORTENED = "solutions whose last steps were left out"
_VERSION = 1
_READING = ReadSettings()


@dataclass(frozen=True)
class Solutions:
    """`labels`: of each step of all samples of `shards`, in their order, from 0 to 1."""

    shards: Shards
    labels: NDArray[np.float32]

    @classmethod
    def open(cls, shards: Shards) -> Solutions:
        return cls(shards, np.array(shards.made_of["labels"], np.float32))

    def __str__(self) -> str:
        return f"{len(self):,} solutions of {len(self.labels):,} steps"

    def __len__(self) -> int:
        return len(self.shards)

    def labels_of(self, sample: int) -> NDArray[np.float32]:
        begin = int(self._ends[sample - 1]) if sample else 0
        return self.labels[begin : int(self._ends[sample])]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([int(self.shards.learned(one).sum()) for one in range(len(self.shards))])

    def parted(self, share: float) -> tuple[Solutions, Solutions]:
        """All but the last `share` of the solutions, and those."""
        cut = int(len(self) * (1 - share))
        if not 0 < cut < len(self):
            raise BadData("there is too little data to hold a part of it out", "give data.eval=FILE, or more data")
        token, step = int(self.shards.lengths[:cut].sum()), int(self._ends[cut - 1])
        return (
            Solutions(self.shards.part(0, token), self.labels[:step]),
            Solutions(self.shards.part(token, self.shards.num_tokens), self.labels[step:]),
        )


def solutions(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    cache: Path,
    *,
    reading: ReadSettings = _READING,
    progress: Progress = silent,
) -> Solutions:
    """The solutions of `files` in a folder of `cache`, which is made whole or not at all. A solution that is too long loses its
    last steps, unless `settings` say otherwise. BadData for rows that have no steps, and where nothing is left.
    """
    folder = cache / f"{key_of(files, tokenizer, settings, reading)}-steps-{_VERSION}"
    receipt, labels = Receipt(), list[float]()

    def filed(said: MadeOf) -> Iterator[Sample]:
        for sample, own in steps_of(files, tokenizer, settings, receipt, reading, progress):
            labels.extend(own)
            yield sample
        said["receipt"], said["labels"] = receipt.as_json(), labels

    return Solutions.open(opened_or_made(files, tokenizer, folder, filed))


def steps_of(
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    receipt: Receipt,
    reading: ReadSettings = _READING,
    progress: Progress = silent,
) -> Iterator[tuple[Sample, tuple[float, ...]]]:
    """Solutions with their labels one after another, nothing written; `receipt` counts all rows."""
    for number, file in enumerate(files):
        progress("tokenise", number, len(files), str(file.path))
        for placed in read_rows([file], receipt, reading.between):
            made = _made(placed, tokenizer, settings, receipt)
            if made is not None:
                receipt.samples += 1
                receipt.tokens += len(made[0].ids)
                receipt.learned += len(made[1])
                yield made
    receipt.finish(reading.max_broken)
    if not receipt.samples:
        raise BadData("nothing is left to learn from", "; ".join(receipt.lines()))


def _made(
    placed: Placed, tokenizer: Tokenizer, settings: SampleSettings, receipt: Receipt
) -> tuple[Sample, tuple[float, ...]] | None:
    row = placed.row
    if not isinstance(row, Solution):
        raise BadData(
            f"{placed.place}: a {type(row).__name__.lower()} has no steps", "give rows with prompt, steps and labels"
        )
    prompts: Prompts = settings.prompts
    try:
        ids, ends = step_ids(tokenizer, row.prompt, row.steps, prompts)
    except UsageError as error:
        receipt.breaks(placed.place, error.message)
        return None
    most = len(ids) if settings.max_len is None else settings.max_len
    fitting = sum(end < most for end in ends)
    if fitting < len(ends) and settings.too_long == "error":
        raise BadData(f"{placed.place} has {len(ids):,} tokens, a row {most:,}", "raise max_seq_len")
    if not fitting or (fitting < len(ends) and settings.too_long == "drop"):
        receipt.drop("too long", placed.place)
        return None
    if fitting < len(ends):
        receipt.shorten(SHORTENED, placed.place)
    ids, ends = ids[: ends[fitting - 1] + 1], ends[:fitting]
    learned = [False] * len(ids)
    for end in ends:
        learned[end] = True
    return Sample(ids, learned), row.labels[:fitting]
