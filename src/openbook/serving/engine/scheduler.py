"""Which tokens are computed next: every running sequence goes on, long prompts in chunks beside them, new ones as room allows.

Decisions depend on the queue alone, never on the clock. Source of mixing chunked prefill with decode: Agrawal et al. 2023,
https://arxiv.org/abs/2308.16369.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Items
from dataclasses import dataclass

from openbook.serving.engine.blocks import BlockManager, block_hashes
from openbook.serving.engine.events import FinishReason
from openbook.serving.engine.plan import Piece, StepPlan
from openbook.serving.engine.sequence import Sequence

SCORED_ROWS = 256
"""Of prompts whose tokens are scored, in a step: as many rows of logits are in memory at a time."""


@dataclass
class _Budget:
    """What is left of a step: tokens, among them guesses, and rows of scored prompts."""

    tokens: int
    guesses: int
    scored: int = SCORED_ROWS

    def count(self, sequence: Sequence) -> int:
        """How many of the next tokens of a sequence it has room for."""
        most = min(self.tokens, self.scored) if sequence.is_scored else self.tokens
        return min(sequence.num_to_compute, most)

    def take(self, sequence: Sequence, piece: Piece) -> None:
        self.tokens -= len(piece.tokens) + piece.num_draft
        self.guesses -= piece.num_draft
        if sequence.is_scored:
            self.scored -= piece.num_logits


class Scheduler:
    """At most `max_num_seqs` sequences run, at most `max_step_tokens` tokens are computed in a step."""

    def __init__(self, blocks: BlockManager, max_num_seqs: int, max_step_tokens: int) -> None:
        self.blocks, self.max_num_seqs, self.max_step_tokens = blocks, max_num_seqs, max_step_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # by number
        self.num_preempted = 0

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def plan(self) -> StepPlan:
        """The next step; empty when nothing is left to do."""
        pieces: list[Piece] = []
        copies: list[tuple[int, int]] = []
        # Guesses take no more than half of what is left when each sequence has its next token.
        budget = _Budget(self.max_step_tokens, max(self.max_step_tokens - len(self.running), 0) // 2)
        # Those that wait for one token first: a long prompt does not hold them up.
        for sequence in sorted(self.running, key=lambda one: (one.num_to_compute > 1, one.number)):
            count = budget.count(sequence)
            if sequence.status != "running" or count < 1:
                continue
            guesses = self._guesses(sequence, budget) if sequence.num_wished else 0
            if self._make_room(sequence, count + guesses, copies):
                pieces.append(self._piece(sequence, count, guesses))
                budget.take(sequence, pieces[-1])
        # A sequence that was preempted for one behind it in this loop takes its piece back.
        running = {one.number for one in self.running}
        pieces = [piece for piece in pieces if piece.number in running]
        while (
            self.waiting
            and budget.count(self.waiting[0]) > 0
            and len(self.running) < self.max_num_seqs
            and self._admit(self.waiting[0], copies)
        ):
            sequence = self.waiting.popleft()
            pieces.append(self._piece(sequence, budget.count(sequence)))
            budget.take(sequence, pieces[-1])
        return StepPlan(pieces, copies)

    def computed(self, plan: StepPlan) -> None:
        """After the step: its tokens are in the cache, and full blocks can be found."""
        pieces = {piece.number: piece for piece in plan.pieces}
        for sequence in self.running:
            if sequence.number in pieces:
                piece = pieces[sequence.number]
                sequence.num_computed += len(piece.tokens) - piece.num_draft
                self._seal(sequence)

    def accepted(self, sequence: Sequence) -> None:
        """One more of its tokens is in the cache: a guess that was right."""
        sequence.num_computed += 1
        self._seal(sequence)

    def send_back(self) -> None:
        """All that run wait again, in their order; what they have written stays, and is computed again."""
        while self.running:
            self._preempt(self.running[-1])

    def finish(self, sequence: Sequence, reason: FinishReason) -> None:
        """Ends a sequence wherever it is; its blocks are given up at once."""
        if sequence.status == "finished":
            return
        if sequence.status == "running":
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._give_up(sequence)
        sequence.status, sequence.finish_reason = "finished", reason

    def fork(self, parent: Sequence, children: Items[Sequence]) -> None:
        """Each child begins where `parent` is and shares its blocks; what is written to is copied first. Those beyond
        `max_num_seqs` wait at the head of the queue: what they share is found in the cache, or computed again.
        """
        room = self.max_num_seqs - len(self.running) if parent.status == "running" else 0
        for child in children[:room]:
            self.blocks.share(parent.block_table)
            child.block_table, child.hashes = list(parent.block_table), list(parent.hashes)
            child.num_computed, child.num_drafted, child.status = parent.num_computed, parent.num_drafted, "running"
            self.running.append(child)
        self.running.sort(key=lambda one: one.number)
        self.waiting.extendleft(reversed(children[room:]))

    def _piece(self, sequence: Sequence, count: int, guesses: int = 0) -> Piece:
        start = sequence.num_computed
        tokens = sequence.tokens[start : start + count]
        is_last = count == sequence.num_to_compute
        num_logits = count if sequence.is_scored else int(is_last)
        adapter = None if sequence.adapter is None else sequence.adapter.name
        return Piece(sequence.number, tokens, start, list(sequence.block_table), num_logits, guesses, adapter)

    def _make_room(self, sequence: Sequence, count: int, copies: list[tuple[int, int]]) -> bool:
        """Blocks for the next `count` tokens, if need be from sequences that came later. False when it was itself sent back."""
        missing, shared = self._needed(sequence, count)
        if not missing and not shared:
            return True  # as nearly always
        while self.blocks.num_available < missing + len(shared):
            last = self.running[-1]
            self._preempt(last)
            if last is sequence:
                return False
            missing, shared = self._needed(sequence, count)
        for i in shared:
            (fresh,) = self.blocks.allocate(1)
            copies.append((sequence.block_table[i], fresh))
            self.blocks.release([sequence.block_table[i]])
            sequence.block_table[i] = fresh
        sequence.block_table += self.blocks.allocate(missing)
        return True

    def _needed(self, sequence: Sequence, count: int) -> tuple[int, list[int]]:
        """For its next `count` tokens: blocks that it lacks, and places of those that another sequence refers to as well."""
        size, table = self.blocks.block_size, sequence.block_table
        first, end = sequence.num_computed // size, self.blocks.blocks_for(sequence.num_computed + count)
        return max(end - len(table), 0), [
            i for i in range(first, min(end, len(table))) if self.blocks.is_shared(table[i])
        ]

    def _guesses(self, sequence: Sequence, budget: _Budget) -> int:
        """How many guesses behind its next token there is room for; nothing is sent back for them."""
        if sequence.num_to_compute != 1 or sequence.num_forks or sequence.is_scored:
            return 0
        count = min(sequence.num_wished, sequence.limit - len(sequence.tokens) - 1, budget.guesses)
        while count > 0:
            missing, shared = self._needed(sequence, 1 + count)
            if missing + len(shared) <= self.blocks.num_available:
                return count
            count -= 1
        return 0

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the head of the queue; it is computed again, as far as its blocks are not found in the cache."""
        self.running.remove(sequence)
        self._give_up(sequence)
        sequence.status = "waiting"
        self.waiting.appendleft(sequence)
        self.num_preempted += 1

    def _give_up(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.block_table)
        sequence.block_table, sequence.hashes = [], []
        sequence.num_computed = sequence.num_drafted = 0

    def _admit(self, sequence: Sequence, copies: list[tuple[int, int]]) -> bool:
        """Takes blocks for all of its tokens, those that are known from the cache; False when there are too few.

        Virtual tokens stand at its head, in blocks of all that use them; one that they do not fill is copied.
        """
        size = self.blocks.block_size
        names = block_hashes(sequence.tokens, size, sequence.salt)
        # The last token is always computed, and of a prompt that is scored, all: logits are not in the cache.
        findable = 0 if sequence.is_scored else (len(sequence.tokens) - 1) // size
        head = [] if sequence.adapter is None else sequence.adapter.blocks
        full = sequence.num_virtual // size
        known = head[:full] + self.blocks.find(names[full:findable])
        self.blocks.share(known)
        missing = self.blocks.blocks_for(len(sequence.tokens)) - len(known)
        if missing > self.blocks.num_available:
            self.blocks.release(known)
            return False
        sequence.block_table = known + self.blocks.allocate(missing)
        sequence.hashes, sequence.num_computed = names[: len(known)], len(known) * size
        if sequence.num_computed < sequence.num_virtual:
            copies.append((head[full], sequence.block_table[full]))
            sequence.num_computed = sequence.num_virtual
        if not sequence.num_output:
            sequence.num_cached = sequence.num_computed - sequence.num_virtual
        sequence.status = "running"
        self.running.append(sequence)
        self.running.sort(key=lambda one: one.number)
        return True

    def _seal(self, sequence: Sequence) -> None:
        size, done = self.blocks.block_size, len(sequence.hashes)
        full = sequence.num_computed // size
        if full == done:
            return
        before = sequence.hashes[-1] if sequence.hashes else None
        names = block_hashes(sequence.tokens[done * size : full * size], size, sequence.salt, before)
        for block, name in zip(sequence.block_table[done:full], names, strict=True):
            self.blocks.seal(block, name)
        sequence.hashes += names
