"""What a run reads: tokenised files as a source of steps, and the rows that it is evaluated on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openbook.core.errors import BadData
from openbook.core.progress import Progress, silent
from openbook.lm.tokenizers.corpus import CorpusFile, corpus_files, texts_of
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.packing import pack
from openbook.training.data.shards import Sample, Shards, write_shards
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.files import Packed, Windows
from openbook.training.sources.step import Source, Tokens

EVAL_TOKENS = 4_096
"""Of a forward pass without gradients."""


@dataclass(frozen=True)
class Rows:
    """`source` of the training steps; `held_out`: what is only evaluated on; `per_epoch`: rows that an epoch has, about."""

    source: Source[Tokens]
    train: Shards
    held_out: Shards | None
    layout: str
    per_epoch: int

    def evaluated(self, max_seq_len: int, most: int | None, ranks: Ranks) -> Iterator[Tokens]:
        """This rank's micro-batches of the rows that are held out, at most `most` rows, always in the same order."""
        if self.held_out is None:
            return
        rows = (
            windows_of(self.held_out, max_seq_len)
            if self.layout == "windows"
            else packed_of(self.held_out, max_seq_len)
        )
        mine = rows[:most][ranks.rank :: ranks.world_size]
        size = max(EVAL_TOKENS // max_seq_len, 1)
        for at in range(0, len(mine), size):
            samples = [one for row in mine[at : at + size] for one in row]
            yield Tokens.of(sorted(samples_at(self.held_out, samples, self.layout), key=lambda one: len(one[0])))


def open_rows(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress = silent) -> Rows:
    """Tokenises what is not yet tokenised. BadData where there is not enough to learn from."""
    cache = Path(recipe.data.cache or Path(recipe.out) / "data")
    layout = "windows" if recipe.data.layout == "auto" else recipe.data.layout
    train, held_out = _shards(recipe, recipe.data.train, tokenizer, cache, ranks, progress), None
    if recipe.data.eval:
        held_out = _shards(recipe, recipe.data.eval, tokenizer, cache, ranks, progress)
    elif recipe.data.eval_share:
        train, held_out = parted(train, recipe.data.eval_share, whole_samples=layout != "windows")
    sizes = {
        "batch_size": recipe.batch_size,
        "micro_batch_size": recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
        "max_seq_len": recipe.max_seq_len,
        "seed": recipe.seed,
        "rank": ranks.rank,
        "world_size": ranks.world_size,
    }
    if layout == "windows":
        return Rows(Windows(train, **sizes), train, held_out, layout, (train.num_tokens - 1) // recipe.max_seq_len - 1)
    source = Packed(train, **sizes, packing=layout == "packed")
    per_epoch = len(packed_of(train, recipe.max_seq_len)) if layout == "packed" else len(train)
    return Rows(source, train, held_out, layout, per_epoch)


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


def _shards(
    recipe: Recipe, names: Sequence[str], tokenizer: Tokenizer, cache: Path, ranks: Ranks, progress: Progress
) -> Shards:
    """The first rank tokenises, the others wait for it."""
    files = corpus_files(data_paths(names))
    folder = cache / _key(files, tokenizer)
    if ranks.is_first and not folder.is_dir():
        made_of = {"files": [str(file.path) for file in files]}
        write_shards(_texts(files, tokenizer, progress), folder, tokenizer.vocab_size, made_of)
    ranks.wait()
    return Shards(folder)


def _texts(files: Sequence[CorpusFile], tokenizer: Tokenizer, progress: Progress) -> Iterator[Sample]:
    """The text of each file in pieces of lines, and the end of text behind it where the tokenizer has one."""
    for number, file in enumerate(files):
        progress("tokenise", number, len(files), str(file.path))
        last: list[int] = []
        for text in texts_of(file):
            if last:
                yield Sample(last)
            last = tokenizer.encode(text, add_special_tokens=False)
        ids = last + ([] if tokenizer.eos_id is None else [tokenizer.eos_id])
        if ids:
            yield Sample(ids)


def _key(files: Sequence[CorpusFile], tokenizer: Tokenizer) -> str:
    """A name for these files, as they are now, with this tokenizer."""
    said = [[str(file.path.resolve()), (stat := file.path.stat()).st_size, stat.st_mtime_ns] for file in files]
    whole = json.dumps([said, hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest()])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
