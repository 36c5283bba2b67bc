"""Span corruption of text, as windows or as whole samples, for an encoder-decoder."""

from __future__ import annotations

from openbook.core.errors import UsageError
from openbook.core.progress import Progress
from openbook.lm.families.t5 import T5
from openbook.training.begin import Begun
from openbook.training.objectives.spans import SpanCorruption
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rows import open_rows
from openbook.training.sources.pieces import Cut
from openbook.training.sources.spans import Spans, Spoiling, spoiled
from openbook.training.tasks.pieces import evaluated_of, pieces_of
from openbook.training.tasks.task import Task


def spans_task(recipe: Recipe, begun: Begun, ranks: Ranks, progress: Progress) -> Task:
    """UsageError for a model that does not write with a decoder of its own."""
    if not isinstance(begun.model, T5) or begun.model.decoder is None:
        raise UsageError(
            f"objective spans trains an encoder-decoder, not {begun.model.config.model_type}", "set model.family=t5"
        )
    spoiling = Spoiling(begun.tokenizer, recipe.spans)
    longest = spoiling.largest(recipe.max_seq_len)
    rows = open_rows(recipe, begun.tokenizer, ranks, progress, longest=longest)
    cut = Cut(rows.layout, longest if rows.layout == "windows" else recipe.max_seq_len, spoiling.taken)
    pieces = pieces_of(recipe, rows, cut, ranks)
    return Task(
        Spans(pieces, spoiling),
        SpanCorruption(),
        evaluated_of(recipe, rows, cut, ranks, lambda part: spoiled(part, spoiling)),
        pieces.per_epoch,
        notes=(*rows.notes(), f"{100 * recipe.spans.share:g} % of them in spans of {recipe.spans.mean_length:g}"),
    )
