"""What the tasks over groups share: the groups of a recipe, those held out, and how a text is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import tokenizers

from openbook.core.errors import BadData
from openbook.core.progress import Progress
from openbook.lm.tokenizers.encoder import EncoderTokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.groups import Group, read_groups, shared_titles
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.groups import GroupSource, evaluated_groups

M = TypeVar("M")


@dataclass(frozen=True)
class Opened(Generic[M]):
    """`source` of the steps; `held_out` gives this rank's micro-batches of an evaluation; `train`: what is learned."""

    source: GroupSource[M]
    held_out: Callable[[], Iterator[M]]
    train: Sequence[Group]
    notes: tuple[str, ...]


def open_groups(
    recipe: Recipe,
    ranks: Ranks,
    make: Callable[[Sequence[Group]], M],
    progress: Progress,
    *,
    negatives: int,
    strangers: int = 0,
) -> Opened[M]:
    """Raises BadData where documents are both learned from and evaluated on."""
    progress("read", 0, None, "groups")
    read = read_groups(data_paths(recipe.data.train), recipe.data.max_broken)
    train, held_out, notes = read.rows, list[Group](), [f"to learn from: {read}"]
    if recipe.data.eval:
        other = read_groups(data_paths(recipe.data.eval), recipe.data.max_broken)
        held_out, notes = other.rows, [*notes, f"held out: {other}"]
    elif recipe.data.eval_share:
        train, held_out = parted(train, recipe.data.eval_share)
        notes.append(f"held out: {len(held_out):,} of them")
    if shared := shared_titles(train, held_out):
        raise BadData(
            f"{len(shared)} documents are both learned from and evaluated on, as {shared[0]!r}",
            "take their rows out of one of the two",
        )
    source = GroupSource(
        train,
        make,
        negatives=negatives,
        strangers=strangers,
        batch_size=recipe.batch_size,
        micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
        seed=recipe.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    shown = partial(
        evaluated_groups,
        held_out,
        make,
        negatives=negatives,
        strangers=strangers,
        most=recipe.data.eval_rows,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    return Opened(source, shown, train, tuple(notes))


def parted(groups: Sequence[Group], share: float) -> tuple[list[Group], list[Group]]:
    """All but the last `share` of the groups, and those; groups of one document stay together."""
    cut = int(len(groups) * (1 - share))
    kept = {one.title for one in groups[:cut] if one.title}
    first = [one for place, one in enumerate(groups) if place < cut or one.title in kept]
    second = [one for one in groups[cut:] if one.title not in kept]
    if not first or not second:
        raise BadData("there are too few documents to hold some of them out", "give data.eval=FILE, or more data")
    return first, second


def group_tokenizer(tokenizer: Tokenizer, max_tokens: int) -> EncoderTokenizer:
    """The run's tokenizer as an encoder reads texts and pairs: cut at `max_tokens`, as in use."""
    return EncoderTokenizer(tokenizers.Tokenizer.from_str(tokenizer.backend.to_str()), max_tokens)


def check_negatives(groups: Sequence[Group], strangers: int = 0) -> None:
    """BadData where a group has nothing that its positive could be told from: no negative, nor a passage of another document."""
    if strangers and len({one.title or one.query for one in groups}) > 1:
        return
    bare = sum(not one.negatives for one in groups)
    if bare:
        raise BadData(
            f"{bare:,} of {len(groups):,} queries have no negative passage",
            "`openbook data mine QUERIES.jsonl` finds some in a library; or take these lines out",
        )
