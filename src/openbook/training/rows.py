"""What a run reads: tokenised files as a source of steps, and the rows that it is evaluated on.

In reading order: a part of the data; all of it; how it is opened; how samples become rows that are evaluated on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openbook.core.errors import BadData, UsageError
from openbook.core.progress import Progress, silent
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.packing import pack
from openbook.training.data.reading import DataFile, data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Shards
from openbook.training.data.tokenised import ReadSettings, is_tokenised, open_tokenised, receipt_of, tokenised
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.recipe_parts import Layout
from openbook.training.sources.files import MixedRows, PackedRows, Steps, WindowRows
from openbook.training.sources.files import Rows as RowSource
from openbook.training.sources.step import Source, Tokens

EVAL_TOKENS = 4_096
"""Of a forward pass without gradients."""


class Part(NamedTuple):
    """Data that is mixed as one. `weight`: of its rows among those of all parts. `is_replay`: older data, learned again."""

    name: str
    train: Shards
    weight: float = 1.0
    is_replay: bool = False


@dataclass(frozen=True)
class Rows:
    """`parts`: what is learned from; `held_outs`: what is only evaluated on."""

    recipe: Recipe
    ranks: Ranks
    parts: tuple[Part, ...]
    held_outs: tuple[Shards, ...]
    layout: Layout

    @property
    def train(self) -> Shards:
        """Of data that is one part. UsageError for a mixture, for objectives that do not mix."""
        if len(self.parts) > 1:
            raise UsageError(
                f"objective {self.recipe.objective} does not mix data",
                "leave out data.weights and data.replay, or put the files together",
            )
        return self.parts[0].train

    @property
    def held_out(self) -> Shards | None:
        return self.held_outs[0] if self.held_outs else None

    @cached_property
    def source(self) -> Source[Tokens]:
        """Of the training steps. BadData where there is not enough to learn from."""
        rows = [self._walk(part.train) for part in self.parts]
        weights = [part.weight for part in self.parts]
        recipe, ranks = self.recipe, self.ranks
        return Steps(
            rows[0] if len(rows) == 1 else MixedRows(rows, weights),
            batch_size=recipe.batch_size,
            micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
            rank=ranks.rank,
            world_size=ranks.world_size,
        )

    @cached_property
    def per_epoch(self) -> int:
        """Rows until the data is seen once: all of it, where it is mixed as much as there is of it; of a mixture with replay the
        new part.
        """
        counts = [self._count(part.train) for part in self.parts]
        weights = [part.weight / sum(one.weight for one in self.parts) for part in self.parts]
        new = [at for at, part in enumerate(self.parts) if not part.is_replay]
        return max(round(sum(counts[at] for at in new) / sum(weights[at] for at in new)), 1)

    def notes(self) -> Iterator[str]:
        """For a person: what is learned from, and what became of its rows."""
        tokens = sum(part.train.num_tokens for part in self.parts)
        held = sum(one.num_tokens for one in self.held_outs)
        yield f"{tokens:,} tokens to learn from{f', {held:,} held out' if held else ''}, as {self.layout}"
        whole = sum(part.weight for part in self.parts)
        for part in self.parts:
            if len(self.parts) > 1:
                share = part.weight / whole
                times = self.per_epoch * share / max(self._count(part.train), 1)
                yield f"{part.name}: {100 * share:.1f} % of the rows, seen {times:.2f} times in an epoch"
            receipt = receipt_of(part.train)
            yield from receipt.lines() if receipt is not None else ()

    def evaluated(self, max_seq_len: int, most: int | None, ranks: Ranks) -> Iterator[Tokens]:
        """This rank's micro-batches of the rows that are held out, at most `most` rows, always in the same order."""
        rows = [
            (shards, row)
            for shards in self.held_outs
            for row in (windows_of if self.layout == "windows" else packed_of)(shards, max_seq_len)
        ]
        mine = rows[:most][ranks.rank :: ranks.world_size]
        size = max(EVAL_TOKENS // max_seq_len, 1)
        for at in range(0, len(mine), size):
            found = [one for shards, row in mine[at : at + size] for one in samples_at(shards, row, self.layout)]
            yield Tokens.of(sorted(found, key=lambda one: len(one[0])))

    def _walk(self, shards: Shards) -> RowSource:
        size, seed = self.recipe.max_seq_len, self.recipe.seed
        if self.layout == "windows":
            return WindowRows(shards, size, seed)
        return PackedRows(shards, size, seed, packing=self.layout == "packed")

    def _count(self, shards: Shards) -> int:
        match self.layout:
            case "windows":
                return (shards.num_tokens - 1) // self.recipe.max_seq_len - 1
            case "packed":
                return len(packed_of(shards, self.recipe.max_seq_len))
            case _:
                return len(shards)


def open_rows(
    recipe: Recipe,
    tokenizer: Tokenizer,
    ranks: Ranks,
    progress: Progress = silent,
    *,
    is_text: bool | None = None,
    longest: int | None = None,
) -> Rows:
    """Tokenises what is not yet tokenised. `is_text`: rows of all forms are read as plain text (none: but for next_token).
    `longest`: tokens of a whole sample where they are not windows (none: max_seq_len, and one that is only learned).

    BadData where there is not enough to learn from.
    """
    data = recipe.data
    is_text = recipe.objective != "next_token" if is_text is None else is_text
    groups: list[tuple[str, Sequence[str], float]] = [(", ".join(data.train), data.train, 1.0)]
    if data.weights:
        groups = [(name, (name,), weight) for name, weight in zip(data.train, data.weights, strict=True)]
    if data.replay:
        new = sum(weight for *_, weight in groups)
        groups.append(
            (f"replay of {', '.join(data.replay)}", data.replay, new * data.replay_share / (1 - data.replay_share))
        )
    files = [_files(names, recipe) for _, names, _ in groups]
    evaluated = _files(data.eval, recipe) if data.eval else []
    layout = _layout(data.layout, [*files, evaluated], is_text=is_text)
    most = None if layout == "windows" else recipe.max_seq_len if longest is None else longest - 1
    settings = SampleSettings(most, data.too_long, data.prompts, is_text)

    def shards(some: Sequence[DataFile] | Path) -> Shards:
        """The first rank tokenises, the others wait for it."""
        if isinstance(some, Path):
            return open_tokenised(some, tokenizer)
        cache = Path(data.cache or Path(recipe.out) / "data")
        reading = ReadSettings(data.documents, data.max_broken)
        found = (
            tokenised(some, tokenizer, settings, cache, reading=reading, progress=progress) if ranks.is_first else None
        )
        ranks.wait()
        return found or tokenised(some, tokenizer, settings, cache, reading=reading)

    parts = [
        Part(name, shards(some), weight, is_replay=bool(data.replay) and at == len(groups) - 1)
        for at, ((name, _, weight), some) in enumerate(zip(groups, files, strict=True))
    ]
    held_outs = [shards(evaluated)] if evaluated else []
    if data.eval_share:
        for at, part in enumerate(parts):
            if not part.is_replay:
                train, held_out = parted(part.train, data.eval_share, whole_samples=layout != "windows")
                parts[at] = part._replace(train=train)
                held_outs.append(held_out)
    return Rows(recipe, ranks, tuple(parts), tuple(held_outs), layout)


def _files(names: Sequence[str], recipe: Recipe) -> list[DataFile] | Path:
    """The files of `names`, or the one directory that `openbook data pack` made."""
    paths = data_paths(names)
    if len(paths) == 1 and is_tokenised(paths[0]):
        return paths[0]
    return data_files(paths, recipe.data.format)


def _layout(asked: Layout, files: Sequence[Sequence[DataFile] | Path], *, is_text: bool) -> Layout:
    """Windows for text, packed for all else, unless another is asked for."""
    if asked != "auto":
        return asked
    plain = (not isinstance(some, Path) and all(one.form == "text" for one in some) for some in files)
    return "windows" if is_text or all(plain) else "packed"


def parted(shards: Shards, share: float, *, whole_samples: bool) -> tuple[Shards, Shards]:
    """All but the last `share` of the tokens, and those."""
    cut = int(shards.num_tokens * (1 - share))
    if whole_samples:
        ends = np.cumsum(shards.lengths)
        cut = int(ends[min(int(np.searchsorted(ends, cut)), max(len(ends) - 2, 0))])
    if not 0 < cut < shards.num_tokens:
        raise BadData("there is too little data to hold a part of it out", "give data.eval=FILE, or more data")
    return shards.part(0, cut), shards.part(cut, shards.num_tokens)


def windows_of(shards: Shards, size: int) -> list[list[tuple[int, int]]]:
    """Rows of one window each: (first token, tokens that are read); the last may be shorter."""
    return [[(begin, min(size, shards.num_tokens - 1 - begin))] for begin in range(0, shards.num_tokens - 1, size)]


def packed_of(shards: Shards, size: int) -> list[list[tuple[int, int]]]:
    """Rows of whole samples: (sample, its tokens that are read)."""
    lengths = (shards.lengths - 1).tolist()
    kept = [place for place, length in enumerate(lengths) if length > 0]
    return [
        [(kept[place], lengths[kept[place]]) for place in sorted(row)]
        for row in pack([lengths[place] for place in kept], size)
    ]


def samples_at(
    shards: Shards, places: Sequence[tuple[int, int]], layout: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for place, length in places:
        if layout == "windows":
            yield shards.window(place, length + 1)
        else:
            yield shards.ids(place), shards.learned(place)
