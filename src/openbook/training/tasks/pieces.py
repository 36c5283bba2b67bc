"""What tasks that restore a spoiled text have in common: its pieces, to learn from and to be evaluated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from openbook.training.parallel import Ranks
from openbook.training.recipe import Recipe
from openbook.training.rows import Rows
from openbook.training.sources.pieces import Cut, Piece, Pieces, held_out

M = TypeVar("M")


def pieces_of(recipe: Recipe, rows: Rows, cut: Cut, ranks: Ranks) -> Pieces:
    """This rank's walk over the text that is learned from."""
    return Pieces(
        rows.train,
        cut,
        batch_size=recipe.batch_size,
        micro_batch_size=recipe.micro_batch_size or math.ceil(recipe.batch_size / ranks.world_size),
        seed=recipe.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def evaluated_of(
    recipe: Recipe, rows: Rows, cut: Cut, ranks: Ranks, spoil: Callable[[list[Piece]], M]
) -> Callable[[], Iterator[M]]:
    """The micro-batches of an evaluation, spoiled always in the same way."""

    def evaluated() -> Iterator[M]:
        if rows.held_out is not None:
            parts = held_out(rows.held_out, cut, recipe.data.eval_rows, recipe.seed, ranks.rank, ranks.world_size)
            yield from map(spoil, parts)

    return evaluated
