"""What the tasks over preferences share: the samples of a recipe's files, and those held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from openbook.core.progress import Progress
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.reading import DataFile, data_files
from openbook.training.data.samples import SampleSettings
from openbook.training.data.shards import Shards
from openbook.training.data.tokenised import ReadSettings, receipt_of
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths


class Parted(Protocol):
    """Samples in shards, of which a part can be held out; as text, how many there are."""

    @property
    def shards(self) -> Shards: ...

    def parted(self, share: float) -> tuple[Self, Self]: ...


D = TypeVar("D", bound=Parted)
D_co = TypeVar("D_co", bound=Parted, covariant=True)


class Opened(NamedTuple, Generic[D]):
    """`both`: what is learned from, and what is held out, where something is."""

    both: tuple[D, ...]
    notes: tuple[str, ...]


class Reads(Protocol[D_co]):
    """`data.preferences` and `data.solutions`."""

    def __call__(
        self,
        files: Sequence[DataFile],
        tokenizer: Tokenizer,
        settings: SampleSettings,
        cache: Path,
        *,
        reading: ReadSettings,
        progress: Progress,
    ) -> D_co: ...


def reading_of(
    recipe: Recipe, read: Reads[D], tokenizer: Tokenizer, progress: Progress, max_len: int
) -> Callable[[Sequence[DataFile]], D]:
    """`read` as the recipe has its files read. `max_len`: tokens of a sample that are read."""
    data = recipe.data
    settings = SampleSettings(max_len, data.too_long, data.prompts)
    reading = ReadSettings(data.documents, data.max_broken)

    def of(files: Sequence[DataFile]) -> D:
        return read(files, tokenizer, settings, cache_of(recipe), reading=reading, progress=progress)

    return of


def cache_of(recipe: Recipe) -> Path:
    """Where what is made of the data is kept."""
    return Path(recipe.data.cache or Path(recipe.out) / "data")


def open_both(recipe: Recipe, ranks: Ranks, read: Callable[[Sequence[DataFile]], D]) -> Opened[D]:
    """`read` makes samples of files, or opens them where they are made: the first rank makes them, the others wait for it."""
    data = recipe.data

    def opened(names: tuple[str, ...]) -> D:
        files = data_files(data_paths(names), data.format)
        first = read(files) if ranks.is_first else None
        ranks.wait()
        return read(files) if first is None else first

    both: tuple[D, ...] = (opened(data.train),)
    if data.eval:
        both = (*both, opened(data.eval))
    elif data.eval_share:
        both = both[0].parted(data.eval_share)
    return Opened(both, tuple(_notes(both, is_parted=not data.eval)))


def _notes(both: Sequence[Parted], *, is_parted: bool) -> Iterator[str]:
    yield f"{both[0]} to learn from" + (f", {both[1]} held out" if len(both) > 1 else "")
    for one in both[:1] if is_parted else both:
        receipt = receipt_of(one.shards)
        yield from receipt.lines() if receipt is not None else ()
