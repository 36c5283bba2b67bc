"""Several tokens of a sequence in one step: they are proposed, the model computes them all, and those it would have chosen stay.

The model draws at every place as it does without proposals, with the same random number, and goes on to the next place while
what it drew is what was proposed. So a proposal x is accepted with the probability p(x) that the model gives it, and replaced
by a draw from the rest otherwise: for a proposer that is sure of itself that is the rule of Leviathan et al. 2023
(https://arxiv.org/abs/2211.17192, algorithm 1, q = 1). Stronger than equal in distribution: the tokens are those without
speculation, also under penalties and grammars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openbook.serving.engine.plan import Piece, StepPlan
from openbook.serving.engine.sequence import Sequence
from openbook.serving.engine.speculate.pace import Pace
from openbook.serving.engine.speculate.proposer import Asked, Proposer


class Speculation:
    """At most `most` tokens a sequence and step. `num_proposed` and `num_accepted` count tokens since the start."""

    def __init__(self, proposer: Proposer, most: int) -> None:
        self.proposer, self.most = proposer, most
        self.num_proposed = self.num_accepted = 0
        self._paces: dict[int, Pace] = {}

    def wish(self, running: Iterable[Sequence]) -> None:
        """Before a plan: for how many tokens of each sequence there should be room."""
        each = [sequence for sequence in running if sequence.num_to_compute == 1 and sequence.status == "running"]
        for sequence in each:
            pace = self._pace(sequence.number)
            sequence.num_wished = self.most if pace.pays(len(each)) else 0

    def _pace(self, number: int) -> Pace:
        return self._paces.setdefault(number, Pace(self.proposer.cost))

    def filled(self, plan: StepPlan, sequences: Mapping[int, Sequence]) -> StepPlan:
        """The plan with the proposals, where it has room for them."""
        for source, target in plan.copies:
            self.proposer.copy(source, target)
        asked = [Asked(sequences[piece.number], piece.num_draft) for piece in plan.pieces if piece.num_draft]
        if not asked:
            return plan
        drafts = {one.sequence.number: draft for one, draft in zip(asked, self.proposer.propose(asked), strict=True)}
        return StepPlan([_with(piece, drafts.get(piece.number, [])) for piece in plan.pieces], plan.copies)

    def note(self, sequence: Sequence, proposed: int, accepted: int) -> None:
        """After a step: what became of the proposals."""
        self.num_proposed += proposed
        self.num_accepted += accepted
        if sequence.number in self._paces:
            self._paces[sequence.number].note(proposed, accepted)
        # Behind what is computed are the keys of guesses that were wrong.
        sequence.num_drafted = min(sequence.num_drafted, sequence.num_computed)

    def forget(self, number: int) -> None:
        self._paces.pop(number, None)
        self.proposer.forget(number)


def _with(piece: Piece, draft: list[int]) -> Piece:
    if not piece.num_draft:
        return piece
    return piece._replace(tokens=piece.tokens + draft, num_logits=1 + len(draft), num_draft=len(draft))
