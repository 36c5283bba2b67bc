"""What is in a file of training data: form, rows, fields, turns, lengths, what is learned, and one sample in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.preferences import PreferenceMaker, made_of
from openbook.training.data.reading import DataFile, Placed, read_rows
from openbook.training.data.receipt import Receipt
from openbook.training.data.records import records
from openbook.training.data.row import Chat, Pair, Preference, Row, Solution
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Sample
from openbook.training.data.solutions import steps_of
from openbook.training.data.tokenised import ReadSettings, samples_of

_LOOKED_AT = 200


class Lengths(NamedTuple):
    """Tokens of a sample."""

    mean: float
    p50: int
    p95: int
    most: int


@dataclass
class Overview:
    """`fields`: of the first rows, how many have each key. `turns`: messages of a chat -> rows. `roles`: messages of each.
    `lengths` is None without a tokenizer, and for rows that are not learned from word by word. `samples`: of the first row that
    has some, one, or of a preference both answers.
    """

    files: list[tuple[str, str]]
    receipt: Receipt
    fields: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    lengths: Lengths | None = None
    samples: dict[str, Sample] = field(default_factory=dict)


def overview(
    files: Sequence[DataFile], tokenizer: Tokenizer | None, settings: SampleSettings, reading: ReadSettings
) -> Overview:
    """Reads all rows. BadData for files with too many broken ones."""
    receipt = Receipt()
    found = Overview([(str(file.path), file.form) for file in files], receipt)
    for file in files:
        if not file.is_plain:
            found.fields.update(_keys(file.path))
    kinds: set[type[Row]] = set()
    for _, row in read_rows(files, receipt, reading.between):
        kinds.add(type(row))
        if isinstance(row, Chat):
            found.turns[len(row.messages)] += 1
            found.roles.update(one["role"] for one in row.messages)
    receipt.finish(reading.max_broken)
    if tokenizer is not None and Pair not in kinds and receipt.rows:
        found.receipt = Receipt()
        lengths: list[int] = []
        for samples in _samples(kinds, files, tokenizer, settings, found.receipt, reading):
            found.samples = found.samples or samples
            lengths += [len(one.ids) for one in samples.values()]
        middle, high = np.percentile(lengths, [50, 95])
        found.lengths = Lengths(sum(lengths) / len(lengths), round(middle), round(high), max(lengths))
    return found


def _samples(
    kinds: set[type[Row]],
    files: Sequence[DataFile],
    tokenizer: Tokenizer,
    settings: SampleSettings,
    receipt: Receipt,
    reading: ReadSettings,
) -> Iterator[dict[str, Sample]]:
    """Of each row its samples, with what each is."""
    if kinds == {Preference}:
        maker = PreferenceMaker(tokenizer, settings)
        for made, _ in made_of(files, maker, receipt, reading):
            names = [f"the {'better' if good else 'worse'} answer" for good in made.is_good]
            yield dict(zip(names, made.samples, strict=True))
    elif kinds == {Solution}:
        for sample, _ in steps_of(files, tokenizer, settings, receipt, reading):
            yield {"a solution, a score at the end of each step": sample}
    else:
        for sample in samples_of(files, tokenizer, settings, receipt, reading):
            yield {"a sample": sample}


def all_rows(files: Sequence[DataFile], reading: ReadSettings) -> Iterator[Placed]:
    """The rows, of which a part may be broken."""
    receipt = Receipt()
    yield from read_rows(files, receipt, reading.between)
    receipt.finish(reading.max_broken)


def marked(ids: Sequence[int], learned: Sequence[bool], tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """Runs of tokens that are alike, in order: ("trained" | "masked" | "trained special" | "masked special", their text, "|"
    between two tokens). The first token is never trained: nothing is before it.
    """
    kinds = [
        ("trained" if is_learned and place else "masked") + (" special" if number in tokenizer.special_ids else "")
        for place, (number, is_learned) in enumerate(zip(ids, learned, strict=True))
    ]
    for kind, group in groupby(zip(kinds, ids, strict=True), key=lambda pair: pair[0]):
        yield kind, "|".join(tokenizer.decode([number]) for _, number in group)


def _keys(path: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for record in islice(records(path), _LOOKED_AT):
        if isinstance(record.value, dict):
            counted.update(map(str, record.value))
    return counted
