"""A second, smaller model that writes ahead. Its keys and values lie in blocks of the same numbers as the model's own.

Source: Leviathan et al. 2023, https://arxiv.org/abs/2211.17192. It draws with the random number that the model will draw with at
that place: where both think alike, they choose alike.
"""

from __future__ import annotations

from collections.abc import Sequence as Items

import torch

from openbook.core.errors import UsageError
from openbook.lm.families.base import Family
from openbook.serving.engine.plan import Piece, StepPlan
from openbook.serving.engine.runner import Runner, Storage
from openbook.serving.engine.sampler import draw, is_greedy, likeliest, uniform_at
from openbook.serving.engine.sequence import Sequence
from openbook.serving.engine.speculate.proposer import Asked

LAYER_WEIGHTS = 3 << 20
"""What a layer takes besides reading its weights, in weights that are read meanwhile: small models are mostly that.

Measured, one token in float32: 0.95 ms with 4 layers and 0.8 million weights, 1.65 ms with 6 and 4.4 million.
"""


def relative_cost(draft: Family, model: Family) -> float:
    """Of one token by `draft`, in tokens by `model`, as far as their sizes tell. Both as they were read, before `prepare`."""
    mine, theirs = (
        sum(one.numel() for one in each.parameters()) + LAYER_WEIGHTS * each.config.num_layers
        for each in (draft, model)
    )
    return float(mine / theirs)


class DraftProposer:
    """`model` proposes for one with the same vocabulary. `max_step_tokens`: it reads no more of prompts at a step. `cost`: see
    `Proposer`.

    It computes a prompt by itself, when it first proposes behind it: blocks that the engine found in its cache may hold nothing
    of the draft's.
    """

    def __init__(
        self,
        model: Family,
        num_blocks: int,
        block_size: int,
        kv_dtype: torch.dtype,
        max_step_tokens: int,
        cost: float = 0.0,
    ) -> None:
        if not model.causal:
            raise UsageError(f"a {model.config.model_type} model cannot draft", "take a small decoder")
        self.model, self._max_step_tokens, self.cost = model, max_step_tokens, cost
        self._runner = Runner(model, num_blocks, block_size, kv_dtype)

    @property
    def storage(self) -> Storage:
        return self._runner.storage

    def copy(self, source: int, target: int) -> None:
        self._runner.storage.copy(source, target)

    def forget(self, number: int) -> None:
        """What it keeps is in blocks, and goes with them."""

    def sleep(self) -> None:
        self._runner.sleep()

    def wake(self) -> None:
        self._runner.wake()

    def propose(self, asked: Items[Asked]) -> list[list[int]]:
        """One pass over what it has not read, and one for each further token."""
        room = self.model.config.max_seq_len
        counts = {one.sequence.number: min(one.most, room - len(one.sequence.tokens)) for one in asked}
        # Of virtual tokens it knows nothing: they are the model's own.
        going = [one.sequence for one in asked if counts[one.sequence.number] > 0 and not one.sequence.num_virtual]
        drafts: dict[int, list[int]] = {one.sequence.number: [] for one in asked}
        pieces, left = [], self._max_step_tokens
        for sequence in going:
            unread = sequence.tokens[sequence.num_drafted :][:left]
            if unread:
                pieces.append(self._piece(sequence, unread))
                left -= len(unread)
        while pieces:
            going = self._extend(pieces, {sequence.number: sequence for sequence in going}, drafts)
            going = [sequence for sequence in going if len(drafts[sequence.number]) < counts[sequence.number]]
            pieces = [self._piece(sequence, drafts[sequence.number][-1:]) for sequence in going]
        return [drafts[one.sequence.number] for one in asked]

    def _piece(self, sequence: Sequence, tokens: list[int]) -> Piece:
        """Its next tokens; logits when it has then read all there is."""
        is_last = sequence.num_drafted + len(tokens) >= len(sequence.tokens)
        return Piece(sequence.number, tokens, sequence.num_drafted, list(sequence.block_table), int(is_last))

    def _extend(
        self, pieces: list[Piece], sequences: dict[int, Sequence], drafts: dict[int, list[int]]
    ) -> list[Sequence]:
        """Reads the pieces, adds a token to the drafts of those that are read to their end, and returns these."""
        computed = self._runner.run(StepPlan(pieces, []))
        for piece in pieces:
            sequences[piece.number].num_drafted += len(piece.tokens)
        if not computed.pieces:
            return []
        extended = []
        for place, (piece, first) in enumerate(zip(computed.pieces, likeliest(computed.logits), strict=True)):
            sequence, draft = sequences[piece.number], drafts[piece.number]
            if first < 0:
                continue  # no number: the model itself may still answer
            params = sequence.params
            assert params.seed is not None, "every sequence has a seed"
            uniform = uniform_at(params.seed, len(sequence.tokens) + len(draft))
            draft.append(first if is_greedy(params) else draw(computed.logits[place], params, uniform))
            extended.append(sequence)
        return extended
