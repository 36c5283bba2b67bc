"""Masked language modelling of text, as windows or as whole samples."""

from __future__ import annotations

from openbook.core.progress import Progress
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.objectives.masked import MaskedLm
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rows import open_rows
from openbook.training.sources.masked import Masked, Masking, masked
from openbook.training.sources.pieces import Cut
from openbook.training.tasks.pieces import evaluated_of, pieces_of
from openbook.training.tasks.task import Task


def masked_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    masking = Masking(tokenizer, recipe.masked)
    longest = recipe.max_seq_len - masking.taken(0)
    rows = open_rows(recipe, tokenizer, ranks, progress, longest=longest)
    cut = Cut(rows.layout, longest if rows.layout == "windows" else recipe.max_seq_len, masking.taken)
    pieces = pieces_of(recipe, rows, cut, ranks)
    return Task(
        Masked(pieces, masking),
        MaskedLm(),
        evaluated_of(recipe, rows, cut, ranks, lambda part: masked(part, masking)),
        pieces.per_epoch,
        notes=(*rows.notes(), f"{100 * recipe.masked.share:g} % of them are hidden"),
    )
