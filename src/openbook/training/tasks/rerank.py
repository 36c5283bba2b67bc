"""A cross-encoder that says how well a passage answers a query, learned from groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from openbook.core.progress import Progress
from openbook.lm.checkpoint import read_json
from openbook.lm.disk import write_json
from openbook.lm.tokenizers.encoder import EncoderTokenizer
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.data.groups import Group
from openbook.training.objectives.rerank import PairGroups, Rerank
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.tasks.grouped import check_negatives, group_tokenizer, open_groups
from openbook.training.tasks.task import Task

_LOOKED_AT = 1_000


def rerank_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    """BadData where a group has no negative: nothing could be learned from it."""
    part = recipe.rerank
    reader = group_tokenizer(tokenizer, recipe.max_seq_len)
    make = partial(PairGroups.of, tokenizer=reader)
    opened = open_groups(recipe, ranks, make, progress, negatives=part.negatives, strangers=part.strangers)
    check_negatives(opened.train, part.strangers)
    return Task(
        opened.source,
        Rerank(part.loss),
        opened.held_out,
        len(opened.train),
        begins_at_guess=False,
        notes=(*opened.notes, *_cut_note(opened.train, reader)),
        also=partial(_say_length, max_tokens=recipe.max_seq_len),
    )


def _cut_note(groups: Sequence[Group], reader: EncoderTokenizer) -> Iterator[str]:
    """Of the first groups. The longer side of a pair is cut: a query stays whole unless it fills half of a row."""
    shown = groups[:_LOOKED_AT]
    longest = max(len(one.ids) for one in reader.encode([group.query for group in shown]))
    cut = sum(one.truncated for one in reader.encode_pairs([(one.query, one.positive) for one in shown]))
    if cut:
        yield f"of the first {len(shown):,} positives {cut:,} are longer than {reader.max_tokens} tokens and cut at their end"
    if longest > reader.max_tokens // 2:
        yield f"a query has {longest} tokens of {reader.max_tokens}: it may be cut too"


def _say_length(folder: Path, max_tokens: int) -> None:
    """What was never read in training is not read in use: pairs are cut at the same length."""
    path = folder / "tokenizer_config.json"
    write_json(path, read_json(path) | {"model_max_length": max_tokens})
