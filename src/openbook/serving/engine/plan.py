"""What the scheduler tells the runner: plain data, so that the two may live in different processes."""

from __future__ import annotations

from typing import NamedTuple


class Piece(NamedTuple):
    """The next `tokens` of a sequence, behind `seen` that are computed. `num_logits`: how many of the last want logits.

    `num_draft`: the last of the tokens are guesses, to be checked; in a plan without guesses yet, room for so many. `adapter`:
    which one changes the weights for it.
    """

    number: int
    tokens: list[int]
    seen: int
    block_table: list[int]
    num_logits: int
    num_draft: int = 0
    adapter: str | None = None


class StepPlan(NamedTuple):
    """One forward pass. `copies`: blocks (from, to) to be copied before it."""

    pieces: list[Piece]
    copies: list[tuple[int, int]]

    @property
    def num_tokens(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces)
