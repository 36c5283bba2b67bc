"""Extractive reading of SQuAD's form: training questions with built unanswerable ones, held-out questions as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from openbook.core.errors import BadData
from openbook.core.progress import Progress
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.squad import Squad, check_disjoint, read_squad
from openbook.training.objectives.extraction import SpanExtraction
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe, data_paths
from openbook.training.sources.questions import Asked, Questions, Shares
from openbook.training.tasks.task import Task


def reader_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    """BadData where articles are both learned from and evaluated on."""
    progress("read", 0, None, "questions")
    train = read_squad(data_paths(recipe.data.train))
    notes = [_told(train, "to learn from")]
    held: Squad | None = None
    if recipe.data.eval:
        held = read_squad(data_paths(recipe.data.eval))
    elif recipe.data.eval_share:
        train, held = parted(train, recipe.data.eval_share)
    if held is not None:
        check_disjoint(train, held)
        notes.append(_told(held, "held out"))
    micro = recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size)
    part = recipe.reader
    asked = partial(
        Questions,
        tokenizer=tokenizer,
        batch_size=recipe.batch_size,
        micro_batch_size=micro,
        max_seq_len=recipe.max_seq_len,
        seed=recipe.seed,
        stride=part.stride,
    )
    shares = Shares(part.neighbour, part.other, part.without, part.changed)
    source = asked(train, shares=shares, rank=ranks.rank, world_size=ranks.world_size)
    shown = None if held is None else asked(held)

    def held_out() -> Iterator[Asked]:
        if shown is not None:
            mine = shown.kept[: recipe.data.eval_rows][ranks.rank :: ranks.world_size]
            yield from shown.micros(mine, micro)

    return Task(source, SpanExtraction(), held_out, len(source), begins_at_guess=False, notes=tuple(notes))


def parted(data: Squad, share: float) -> tuple[Squad, Squad]:
    """All but the last `share` of the questions, and those, cut between two articles."""
    cut = int(len(data.questions) * (1 - share))
    title = data.articles[data.questions[cut].passage]
    held = set(data.articles[data.questions[cut].passage :])
    kept = [one for one in data.questions if data.articles[one.passage] not in held]
    others = [one for one in data.questions if data.articles[one.passage] in held]
    if not kept or not others:
        raise BadData(f"the article {title!r} is all there is", "give data.eval=FILE, or more articles")
    return (
        Squad(data.passages, data.articles, kept),
        Squad(data.passages, data.articles, others),
    )


def _told(data: Squad, what: str) -> str:
    asked = len(data.questions)
    bare = sum(not one.answers for one in data.questions)
    lost = f", {data.lost:,} answers do not stand in their passage" if data.lost else ""
    return f"{asked:,} questions {what} ({bare:,} without an answer) over {len(data.passages):,} passages{lost}"
