"""Language modelling of text as windows, or of chats and completions as rows of whole samples."""

from __future__ import annotations

from openbook.core.progress import Progress
from openbook.lm.tokenizers.tokenizer import Tokenizer
from openbook.training.objectives.next_token import NextToken
from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rows import open_rows
from openbook.training.tasks.task import Task


def next_token_task(recipe: Recipe, tokenizer: Tokenizer, ranks: Ranks, progress: Progress) -> Task:
    rows = open_rows(recipe, tokenizer, ranks, progress)
    return Task(
        rows.source,
        NextToken(),
        lambda: rows.evaluated(recipe.max_seq_len, recipe.data.eval_rows, ranks),
        rows.per_epoch,
        is_fixed=rows.layout == "windows",
        notes=tuple(rows.notes()),
    )
